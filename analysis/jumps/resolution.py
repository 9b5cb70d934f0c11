"""What the checkpoints can resolve: no time is known better than the gap around it."""

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.judging.thresholds import NEAR_GAPS, NEAR_WIDTH


def bracket(time: Float[np.ndarray, " step"], tau: float) -> tuple[float, float]:
    """Return the checkpoints on either side of a place, its neighbours if it is one itself."""
    after = int(np.clip(np.searchsorted(time, tau, side="right"), 1, time.size - 1))
    before = after - 1 if time[after - 1] < tau or after == 1 else after - 2
    return float(time[before]), float(time[after])


def spacing(steps: Int[np.ndarray, " step"], tau: float) -> float:
    """Return the gap between the checkpoints around a place, the wider of two if it is one."""
    low, high = bracket(steps.astype(np.float64), tau)
    inside = steps[(steps >= low) & (steps <= high)].astype(np.float64)
    return float(np.max(np.diff(inside)))


def near(gap: float, width: float) -> float:
    """Return how close to a jump is with it, in steps: what the checkpoints and it can resolve.

    Args:
        gap: Gap between checkpoints, the wider of those around the two places.
        width: 10-90 width of the jump.
    """
    return max(NEAR_GAPS * gap, NEAR_WIDTH * width)


def within(interval: tuple[float, float] | None, reach: float | None) -> bool:
    """Say whether a whole interval lies within a reach of zero: a test of equivalence.

    An interval that holds zero shows only that no difference was found. Two one-sided tests at
    2.5 % each are behind this one (Schuirmann 1987).
    """
    if interval is None or reach is None:
        return False
    return -reach <= interval[0] and interval[1] <= reach


def order_of(
    lead: float | None,
    interval: tuple[float, float] | None,
    floor: float | None,
    reach: float | None = None,
) -> str:
    """Say whether a change comes before, after or with its reference, or that it cannot be told.

    Args:
        lead: Place minus place of the reference, None where either has none.
        interval: Interval of the lead.
        floor: Gap between checkpoints; a smaller lead is no order whatever its interval.
        reach: How close is with the reference (`near`); None says `with` of nothing.
    """
    if lead is None or interval is None or floor is None:
        return ""
    if abs(lead) >= floor and not interval[0] <= 0 <= interval[1]:
        return "before" if lead < 0 else "after"
    return "with" if within(interval, reach) else "unresolved"
