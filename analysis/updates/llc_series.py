"""Learning coefficients of one head as chains found them, and what they say at each checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import t as student

from critical_phase.errors import ShapeError

Word = Literal["above zero", "not told from zero", "no minimum", "no interval"]

SHARP = 0.25
"""Largest typical half-width of the intervals, over the range, for a series to be ranked."""

OVER_CHAINS = "95 % t interval over chains; one training, one set of examples"


@dataclass(frozen=True, slots=True)
class LlcSeries:
    """What was sampled at some checkpoints of a head, with one setting for all."""

    steps: Int[np.ndarray, " step"]
    """Ascending."""
    chains: Float[np.ndarray, "step chain"]
    """Estimate of every chain; NaN where it broke off. Chains of one number share their noise."""
    halves: Float[np.ndarray, "2 step chain"]
    """The same over the first and over the second half of the draws."""
    broke: Int[np.ndarray, "step chain"]
    """Step of the chain at which it broke off, -1 where it did not."""
    distance: Float[np.ndarray, "step chain"]
    """Mean distance from the checkpoint, over the norm of the checkpoint."""
    loss: Float[np.ndarray, " step"]
    """At the checkpoint, in nats per answer."""
    slope: Float[np.ndarray, " step"]
    """Norm of the gradient of the loss at the checkpoint: 0 at a minimum."""
    settings: Mapping[str, Any]
    """How was sampled: lr, gamma, n, n_beta, parameters, sampled, method, ..."""
    random: tuple[int, Float[np.ndarray, " _control"]] | None = None
    """Step of a random adapter of equal norm, and its chains."""
    quadratic: tuple[float, Float[np.ndarray, " _control"]] | None = None
    """Known value of a quadratic, and its chains at the same settings."""
    sweep: tuple[Mapping[str, Any], ...] = field(default_factory=tuple)
    """Settings that were tried: reach, pace, lr, gamma, llc."""

    def __post_init__(self) -> None:
        """Refuse tables that do not belong together."""
        shape = (self.steps.size, self.chains.shape[1])
        tables = (self.chains, self.halves[0], self.halves[1], self.broke, self.distance)
        if any(table.shape != shape for table in tables) or np.any(np.diff(self.steps) <= 0):
            raise ShapeError(
                f"{self.steps.size} ascending steps need tables of shape {shape}",
                where="LlcSeries",
            )


@dataclass(frozen=True, slots=True)
class LlcPoint:
    """The estimate at one place."""

    value: float
    """Mean over finite chains, NaN without any; negative values stay negative."""
    low: float
    high: float
    finite: int
    """Chains that did not break off."""

    @property
    def word(self) -> Word:
        """Say what the estimate is; a loss that falls around the checkpoint is no minimum."""
        if not np.isfinite(self.low):
            return "no interval"
        if self.value < 0:
            return "no minimum"
        return "above zero" if self.low > 0 else "not told from zero"


def point_of(chains: Float[np.ndarray, " chain"], level: float = 0.95) -> LlcPoint:
    """Average chains, with Student's interval; NaN for fewer than two finite ones."""
    kept = chains[np.isfinite(chains)]
    if kept.size == 0:
        return LlcPoint(float("nan"), float("nan"), float("nan"), 0)
    value = float(kept.mean())
    if kept.size < 2:
        return LlcPoint(value, float("nan"), float("nan"), 1)
    wide = float(student.ppf(0.5 + level / 2, kept.size - 1))
    half = wide * float(kept.std(ddof=1)) / np.sqrt(kept.size)
    return LlcPoint(value, value - half, value + half, int(kept.size))


def points_of(series: LlcSeries) -> list[LlcPoint]:
    """Return the estimate at every checkpoint."""
    return [point_of(chains) for chains in series.chains]


def drift(series: LlcSeries) -> list[LlcPoint]:
    """Return the second half minus the first half of the draws, with its interval over chains."""
    return [point_of(gap) for gap in series.halves[1] - series.halves[0]]


def at_minimum(series: LlcSeries) -> Bool[np.ndarray, " step"]:
    """Say where the estimate is no less than zero and has an interval."""
    return np.array([one.word in ("above zero", "not told from zero")
                     for one in points_of(series)], dtype=bool)  # fmt: skip


def too_wide(points: Sequence[LlcPoint]) -> str | None:
    """Say how wide intervals are where a change cannot be looked for, None where it can."""
    reach = float(np.ptp([p.value for p in points]))
    half = float(np.median([(p.high - p.low) / 2 for p in points]))
    if half <= SHARP * reach:
        return None
    return f"half as wide as {half:.3g} where the values range over {reach:.3g}"
