"""All measures of a run in order, and the findings they add up to."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from critical_phase.errors import ConfigError

from .attention import attention
from .calibrations import calibration
from .change_points import change_points
from .changes import changes
from .findings import findings
from .inputs import RunArrays
from .likelihood import curves
from .linear_probes import linear_probes
from .normalisations import normalisations
from .results import Analysis, MeasureResult
from .settings import AnalysisSettings
from .side_effects import side_effects
from .similarity import similarity
from .sparsity import sparsity
from .strata import difficulty
from .tokens import tokens
from .weight_sweep import weight_sweep
from .weights import weights


class Measure(Protocol):
    """A function from arrays to one result; earlier results spare it repeated work."""

    def __call__(
        self,
        arrays: RunArrays,
        settings: AnalysisSettings,
        done: Mapping[str, MeasureResult] | None = None,
    ) -> MeasureResult:
        """Compute the measure."""
        ...


MEASURES: dict[str, Measure] = {
    "curves": curves,
    "change_points": change_points,
    "normalisations": normalisations,
    "difficulty": difficulty,
    "calibration": calibration,
    "weight_sweep": weight_sweep,
    "side_effects": side_effects,
    "linear_probes": linear_probes,
    "similarity": similarity,
    "attention": attention,
    "sparsity": sparsity,
    "weights": weights,
    "changes": changes,
    "tokens": tokens,
}
"""Every measure by name, in the order in which they run and are shown."""

NEEDED = ("curves", "change_points", "changes")
"""Measures that findings cannot do without."""


def analyze(
    arrays: RunArrays,
    settings: AnalysisSettings | None = None,
    *,
    progress: Callable[[str], None] | None = None,
    measures: Iterable[str] | None = None,
) -> Analysis:
    """Run the measures of a run and collect the findings.

    Args:
        arrays: The run.
        settings: Seed, resampling sizes, modes; defaults if left out.
        progress: Called with the name of each measure before it runs.
        measures: Names of measures to run, all if left out. Those that findings need run anyway.

    Returns:
        Results by measure, findings, and the headline sentence.

    Raises:
        ConfigError: A measure of that name does not exist.
        FitError: A score is not a number.
        ShapeError: Rows are not whole questions with one right candidate.
    """
    chosen = settings or AnalysisSettings()
    names = list(MEASURES) if measures is None else list(measures)
    unknown = sorted(set(names) - set(MEASURES))
    if unknown:
        raise ConfigError(f"asked for {', '.join(unknown)}, known are {', '.join(MEASURES)}")
    done: dict[str, MeasureResult] = {}
    for name, measure in MEASURES.items():
        if name in names or name in NEEDED:
            if progress is not None:
                progress(name)
            done[name] = measure(arrays, chosen, done)
    found = findings(arrays, chosen, done)
    return Analysis(done, found, str(found["sentence"]))
