"""How much of a gain in accuracy something else reaches, paired over questions.

The share is a ratio of sums over questions. Its interval is the question bootstrap, joined with
that of Bonett and Price for the difference of two paired accuracies: where both are right on the
same questions the bootstrap alone has no width.

Reference: Bonett and Price (2012), J. Educ. Behav. Stat. 37, 479 (one added to each discordant
count).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inference.bootstrap import interval

Z = 1.959964
"""Normal quantile of a 95 % interval."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Accuracy of a run before and after, beside that of something else after."""

    before: float
    after: float
    other: float
    gain_interval: tuple[float, float]
    """Of after minus before."""
    difference_interval: tuple[float, float]
    """Of after minus other."""
    share: float | None
    """(other - before) / (after - before); None unless the gain is above zero, with interval."""
    interval: tuple[float, float] | None
    """95 % over questions; None with the share."""

    @property
    def difference(self) -> float:
        """Return after minus other."""
        return self.after - self.other

    def above(self, share: float) -> bool:
        """Say whether the lower end of the share lies above a threshold."""
        return self.interval is not None and self.interval[0] > share

    def below(self, share: float) -> bool:
        """Say whether the upper end of the share lies below a threshold."""
        return self.interval is not None and self.interval[1] < share

    def within(self, most: float) -> bool:
        """Say whether the difference lies within so much of zero, with its interval."""
        low, high = self.difference_interval
        return low >= -most and high <= most


def reached(
    before: Float[np.ndarray, " question"],
    after: Float[np.ndarray, " question"],
    other: Float[np.ndarray, " question"],
    weights: Float[np.ndarray, "draw question"],
) -> Reached:
    """Ask how much of the gain from before to after another accuracy reaches.

    Args:
        before: 1 right, 0 wrong, ties share, per question, before the gain.
        after: The same after it.
        other: The same of what is compared.
        weights: Question resamples, shared by everything that is paired.

    Returns:
        Accuracies, difference and share with their intervals.
    """
    gain, gap = after - before, after - other
    low, high = mean_difference(gain, weights)
    least, most = mean_difference(gap, weights)
    whole = weights @ gain
    share, band = None, None
    if low > 0 and whole.min() > 0:
        size = float(gain.mean())
        share = 1 - float(gap.mean()) / size
        ends = interval(1 - (weights @ gap) / whole)
        band = (min(float(ends[0]), 1 - most / size), max(float(ends[1]), 1 - least / size))
    first, last, beside = (float(one.mean()) for one in (before, after, other))
    return Reached(first, last, beside, (low, high), (least, most), share, band)


def mean_difference(
    gap: Float[np.ndarray, " question"], weights: Float[np.ndarray, "draw question"]
) -> tuple[float, float]:
    """Return the 95 % interval of a mean difference of two paired accuracies.

    Args:
        gap: One minus the other, per question.
        weights: Question resamples.
    """
    low, high = interval(weights @ gap)
    count = gap.size + 2
    middle = float(gap.sum()) / count
    spread = Z * float(np.sqrt(max((gap**2).sum() + 2 - count * middle**2, 0.0))) / count
    return min(float(low), middle - spread), max(float(high), middle + spread)
