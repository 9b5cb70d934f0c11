"""Do the seeds of one design fall into two groups? A test that is honest about few seeds."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.judging.thresholds import LEVEL

FEWEST = 4
"""Seeds below which two groups of two cannot be formed."""

PER_GROUP = 2
"""Fewest seeds of a group: a lone seed is an outlier and no group."""


@dataclass(frozen=True, slots=True)
class TwoGroups:
    """The best split of some values into two groups, and how often one group looks so split."""

    seeds: int
    statistic: float
    """Share of the squared spread that the split explains; NaN with too few seeds."""
    p: float
    """Largest chance of such a split among one-humped distributions; NaN with too few seeds."""
    low: tuple[float, ...]
    """Values of the lower group."""
    high: tuple[float, ...]
    """Values of the upper group."""
    error: float = 0.0
    """Standard error of one value over questions."""

    @property
    def apart(self) -> bool:
        """Say whether the groups differ by more than questions alone could make them differ."""
        if not (self.low and self.high):
            return False
        gap = float(np.mean(self.high) - np.mean(self.low))
        return bool(gap > 1.96 * np.sqrt(2) * self.error)

    @property
    def verdict(self) -> str:
        """Say `two groups` or `undecided`; a large p never shows that there is one group."""
        return "two groups" if self.p <= LEVEL and self.apart else "undecided"


def two_groups(
    values: Float[np.ndarray, " seed"],
    rng: np.random.Generator,
    *,
    draws: int = 4000,
    error: float = 0.0,
) -> TwoGroups:
    """Test whether values fall into two groups of at least two.

    The statistic is the largest share of squares that a split explains (Engelman and Hartigan
    1969). Its chance is simulated for four one-humped shapes of any place and scale (normal,
    uniform, exponential either way, Student t with 3 degrees of freedom) and the largest is
    reported.

    Args:
        values: One number per seed.
        rng: Source of the simulated values.
        draws: Simulated sets of seeds per shape.
        error: Standard error of one value over questions: accuracies of few questions come in
            steps, and values of two steps always look split.
    """
    count = values.size
    if count < FEWEST:
        return TwoGroups(count, float("nan"), float("nan"), (), (), error)
    ordered = np.sort(values)[None]
    if float(np.ptp(values)) <= 1e-12 * max(1.0, float(np.max(np.abs(values)))):
        return TwoGroups(count, 0.0, 1.0, tuple(ordered[0].tolist()), (), error)
    share = _shares(ordered)[0]
    at, seen = int(np.argmax(share)), float(share.max())
    nulls = (
        rng.standard_normal((draws, count)),
        rng.random((draws, count)),
        rng.standard_exponential((draws, count)),
        rng.standard_t(3, (draws, count)),
    )
    chance = [np.mean(_shares(np.sort(null)).max(axis=1) >= seen - 1e-12) for null in nulls]
    p = (1 + draws * max(map(float, chance))) / (1 + draws)
    low, high = np.split(ordered[0], [at + PER_GROUP])
    return TwoGroups(count, seen, p, tuple(low.tolist()), tuple(high.tolist()), error)


def _shares(ordered: Float[np.ndarray, "n seed"]) -> Float[np.ndarray, "n split"]:
    """Return the share of squares between groups for every split of sorted values."""
    count = ordered.shape[1]
    centred = ordered - ordered.mean(axis=1, keepdims=True)
    below = np.arange(PER_GROUP, count - PER_GROUP + 1)
    sums = np.cumsum(centred, axis=1)[:, below - 1]
    between = sums**2 * (1 / below + 1 / (count - below))
    found: np.ndarray = between / (centred**2).sum(axis=1, keepdims=True)
    return found
