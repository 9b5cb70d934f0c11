"""What an analysis may be asked to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from critical_phase.errors import ConfigError

MODES = ("likra", "sft", "base_likra", "pos_base")
"""How heads combine into one score, in order of preference for the headline."""


@dataclass(frozen=True, slots=True)
class AnalysisSettings:
    """Seed, resampling sizes and modes; everything else follows from the data."""

    seed: int = 0
    """Start of every random stream; equal seeds give equal bytes."""
    draws: int = 1000
    """Question-bootstrap draws, shared by every quantity."""
    permutations: int = 200
    """Permutations of the right answer within questions."""
    smooth_draws: int = 400
    """Curves simulated from the smooth model for each change-point test."""
    modes: tuple[str, ...] = MODES
    """Modes to compute where their heads exist."""
    weight: float = 1.0
    """Weight of the subtracted term in every difference mode."""
    run: str = "run"
    """Name of the run, copied into the findings."""
    made: Mapping[str, str | int | None] = field(default_factory=dict)
    """How the run was made, as its record says, copied into the findings."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Mode -> what to call its score, where the heads are checkpoints made elsewhere."""
    examples: int = 4
    """Questions shown row by row."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot give an interval or a p-value."""
        unknown = sorted(set(self.modes) - set(MODES))
        if unknown:
            raise ConfigError(
                f"asked for modes {', '.join(unknown)}, known are {', '.join(MODES)}",
                where="AnalysisSettings.modes",
            )
        for name in ("draws", "permutations", "smooth_draws"):
            if getattr(self, name) < 20:
                raise ConfigError(
                    f"asked for {getattr(self, name)} {name}, at least 20 are needed",
                    where=f"AnalysisSettings.{name}",
                )
