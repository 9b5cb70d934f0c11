"""When does each question's margin cross zero, and how far apart are the questions?"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inference.bootstrap import interval

NEAR = 0.1
"""Part of the series on either side of a crossing that counts as near."""


@dataclass(frozen=True, slots=True)
class Crossings:
    """Spread of the times at which questions turn right for good."""

    count: int
    """Questions that start wrong and end right."""
    median: float
    """Median crossing step."""
    spread: float
    """10-90 range of crossing steps."""
    spread_interval: tuple[float, float]
    """95 % bootstrap of the range over the crossing questions."""
    own: float
    """Share of a question's whole range that its margin covers within `NEAR` of the series on
    either side of its own crossing, ratio of sums: near 1 a switch, 2 * `NEAR` a steady drift."""
    own_interval: tuple[float, float]
    """95 % bootstrap over the crossing questions."""


def crossings(
    margins: Float[np.ndarray, "step question"],
    steps: Int[np.ndarray, " step"],
    rng: np.random.Generator,
    draws: int = 400,
) -> Crossings | None:
    """Find the last upward crossing of each question, None with fewer than ten of them."""
    turning = np.flatnonzero((margins[0] <= 0) & (margins[-1] > 0))
    if turning.size < 10:
        return None
    times = np.empty(turning.size)
    for at, question in enumerate(turning):
        path = margins[:, question]
        below = int(np.flatnonzero(path <= 0)[-1])
        part = -path[below] / (path[below + 1] - path[below])
        times[at] = steps[below] + part * (steps[below + 1] - steps[below])
    picks = rng.integers(0, times.size, (draws, times.size))
    resamples = times[picks]
    near, whole = _covered(margins[:, turning], steps, times)
    ranges = np.quantile(resamples, 0.9, axis=1) - np.quantile(resamples, 0.1, axis=1)
    low, high = interval(ranges)
    least, most = interval(near[picks].sum(axis=1) / whole[picks].sum(axis=1))
    return Crossings(
        turning.size,
        float(np.median(times)),
        float(np.quantile(times, 0.9) - np.quantile(times, 0.1)),
        (float(low), float(high)),
        float(near.sum() / whole.sum()),
        (float(least), float(most)),
    )


def _covered(
    margins: Float[np.ndarray, "step question"],
    steps: Int[np.ndarray, " step"],
    times: Float[np.ndarray, " question"],
) -> tuple[Float[np.ndarray, " question"], Float[np.ndarray, " question"]]:
    """Return how much each margin rises near its crossing, and its whole range."""
    reach = NEAR * float(steps[-1] - steps[0])
    near = [
        float(np.diff(np.interp((time - reach, time + reach), steps, path))[0])
        for time, path in zip(times, margins.T, strict=True)
    ]
    return np.array(near), np.ptp(margins, axis=0)
