"""When does each question's margin cross zero, and how far apart are the questions?"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from .bootstrap import interval


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
    resamples = times[rng.integers(0, times.size, (draws, times.size))]
    ranges = np.quantile(resamples, 0.9, axis=1) - np.quantile(resamples, 0.1, axis=1)
    low, high = interval(ranges)
    return Crossings(
        turning.size,
        float(np.median(times)),
        float(np.quantile(times, 0.9) - np.quantile(times, 0.1)),
        (float(low), float(high)),
    )
