"""What the checkpoints can resolve: no time is known better than the gap around it."""

import numpy as np
from jaxtyping import Float, Int


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


def order_of(lead: float | None, interval: tuple[float, float] | None, floor: float | None) -> str:
    """Say whether a change comes before or after its reference, or that it cannot be told.

    Args:
        lead: Place minus place of the reference, None where either has none.
        interval: Interval of the lead.
        floor: Gap between checkpoints; a smaller lead is not resolved whatever its interval.
    """
    if lead is None or interval is None or floor is None:
        return ""
    if abs(lead) < floor or interval[0] <= 0 <= interval[1]:
        return "unresolved"
    return "before" if lead < 0 else "after"
