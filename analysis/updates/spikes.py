"""Spikes of a training log: one step far above its neighbours."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

REACH = 4
"""Steps on either side that a step is compared with."""

FACTOR = 1.5
"""Least ratio to the neighbours' median that is called a spike; fixed in advance."""

LEVEL = 0.05
"""Significance of a spike."""

HEAVY = 5
"""Degrees of freedom of the noise of single batches."""

NEAR = 12
"""Steps on either side from which the spread at a step is taken: noise may shrink or grow."""

MOST_NUMBERS = 130_000
"""Numbers simulated for one series; long logs get fewer series, at least 200."""


@dataclass(frozen=True, slots=True)
class Spike:
    """The largest upward outlier of a positive series."""

    step: int
    """Optimizer step of the spike."""
    ratio: float
    """Value over the median of its neighbours."""
    interval: tuple[float, float]
    """Ratio after taking off the ordinary ups and downs of the other steps, 95 %."""
    p: float
    """Chance of so large a ratio among heavy-tailed steps of the same spread."""

    @property
    def found(self) -> bool:
        """Say whether it counts as a spike."""
        return self.ratio >= FACTOR and self.p <= LEVEL


def above_neighbours(log: Float[np.ndarray, "*rest step"]) -> Float[np.ndarray, "*rest step"]:
    """Subtract from each value the median of its four neighbours on either side.

    At the ends the series is continued as in a mirror.
    """
    pad = [(0, 0)] * (log.ndim - 1) + [(REACH, REACH)]
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(log, pad, mode="reflect"), 2 * REACH + 1, axis=-1
    )
    near = np.sort(np.delete(windows, REACH, axis=-1), axis=-1)
    return np.asarray(log - near[..., REACH - 1 : REACH + 1].mean(axis=-1))


def largest_spike(
    steps: Int[np.ndarray, " step"],
    values: Float[np.ndarray, " step"],
    rng: np.random.Generator,
    *,
    draws: int = 2000,
) -> Spike | None:
    """Find the step that stands out most above its neighbours.

    A step stands out by its log ratio to its neighbours' median over the spread (median
    absolute value) of these ratios around it. The control is noise without spikes, Student t
    with 5 degrees of freedom, through the same comparison.

    Args:
        steps: Optimizer steps.
        values: Positive values, such as losses or gradient norms.
        rng: Source of the simulated noise.
        draws: Most simulated series.

    Returns:
        The largest spike, or None for fewer than 12 steps or values that are not positive.
    """
    if steps.size < 12 or not (np.isfinite(values).all() and (values > 0).all()):
        return None
    rise = above_neighbours(np.log(np.asarray(values, dtype=np.float64)))
    outlying = rise / _spread(rise)
    at = int(np.argmax(outlying))
    null = _null(steps.size, rng, min(draws, max(200, MOST_NUMBERS // steps.size)))
    p = float((1 + (null >= outlying[at] - 1e-12).sum()) / (1 + null.size))
    low, high = np.quantile(np.delete(rise, at), [0.025, 0.975])
    edges = (float(np.exp(rise[at] - high)), float(np.exp(rise[at] - low)))
    return Spike(int(steps[at]), float(np.exp(rise[at])), edges, p)


def _spread(rise: Float[np.ndarray, "*rest step"]) -> Float[np.ndarray, "*rest step"]:
    """Return the median size of the ratios around each step, at least 1e-4."""
    reach = min(NEAR, rise.shape[-1] - 1)
    pad = [(0, 0)] * (rise.ndim - 1) + [(reach, reach)]
    around = np.lib.stride_tricks.sliding_window_view(
        np.pad(np.abs(rise), pad, mode="reflect"), 2 * reach + 1, axis=-1
    )
    return np.asarray(np.maximum(np.median(around, axis=-1), 1e-4))


def _null(steps: int, rng: np.random.Generator, draws: int) -> Float[np.ndarray, " draw"]:
    """Simulate largest outliers, each in units of the spread around it."""
    rise = above_neighbours(rng.standard_t(HEAVY, size=(draws, steps)))
    return np.asarray((rise / _spread(rise)).max(axis=-1))
