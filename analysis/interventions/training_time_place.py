"""Where a curve crosses a level for good, on the curve itself and on every draw of questions.

The crossing is the cut that leaves as much area as possible below the level before it and above it
after it; a curve that dips first, or wavers at the top, has one place all the same. A curve that
never settles on the other side has none: its place is infinite, later than the last checkpoint.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.jumps.resolution import spacing

TAIL = 0.025


@dataclass(frozen=True, eq=False)
class Place:
    """A place, or a difference of two, with its 95 % interval over questions."""

    value: float
    """In steps; infinite where the level is never crossed for good."""
    interval: tuple[float, float]
    """No finer than the checkpoints around it."""
    draws: Float[np.ndarray, " draw"]
    """On the curve itself first, then on every draw of questions."""


def crossings(
    steps: Int[np.ndarray, " step"],
    curves: Float[np.ndarray, "draw step"],
    before: Float[np.ndarray, " draw"],
    after: Float[np.ndarray, " draw"],
) -> Float[np.ndarray, " draw"]:
    """Return where each curve crosses the middle of two levels for good.

    Args:
        steps: Checkpoints, ascending.
        curves: One curve per draw.
        before: Level before the jump, per draw.
        after: Level after it; the sign of the difference says which way is across.

    Returns:
        Steps, between two checkpoints by a line; the first checkpoint where all lies across, and
        infinity where no end of the curve does.
    """
    time = steps.astype(np.float64)
    above = np.sign(after - before)[:, None] * (curves - ((before + after) / 2)[:, None])
    share = np.gradient(time) if time.size > 1 else np.ones(1)
    tails = np.cumsum((above * share)[:, ::-1], axis=1)[:, ::-1]
    cut = np.argmax(np.concatenate([tails, np.zeros((len(tails), 1))], axis=1), axis=1)
    found = np.full(len(above), np.inf)
    found[cut == 0] = time[0]
    for draw in np.flatnonzero((cut > 0) & (cut < time.size)):
        at = cut[draw]
        low, high = above[draw, at - 1], above[draw, at]
        part = np.clip(-low / (high - low), 0.0, 1.0) if high > low else 1.0
        found[draw] = time[at - 1] + part * (time[at] - time[at - 1])
    return found


def place_of(
    steps: Int[np.ndarray, " step"],
    curves: Float[np.ndarray, "draw step"],
    before: Float[np.ndarray, " draw"],
    after: Float[np.ndarray, " draw"],
) -> Place:
    """Place a curve; the first line of each argument is the curve itself."""
    draws = crossings(steps, curves, before, after)
    return _place(draws, _gap(steps, float(draws[0])))


def later_than(one: Place, other: Place, steps: Int[np.ndarray, " step"]) -> Place:
    """Return by how many steps one place is later than another, draw by draw.

    Where neither crosses they count as equal, where the other alone does not as earlier.
    """
    both = np.isinf(one.draws) & np.isinf(other.draws)
    with np.errstate(invalid="ignore"):
        draws = np.where(both, 0.0, one.draws - other.draws)
    gap = max(_gap(steps, one.value), _gap(steps, other.value))
    return _place(draws, gap)


def _place(draws: Float[np.ndarray, " draw"], gap: float) -> Place:
    """Take order statistics, which may be infinite, and widen them to the checkpoints' gap."""
    value = float(draws[0])
    low = float(np.quantile(draws[1:], TAIL, method="lower"))
    high = float(np.quantile(draws[1:], 1 - TAIL, method="higher"))
    return Place(value, (min(low, value - gap), max(high, value + gap)), draws)


def _gap(steps: Int[np.ndarray, " step"], at: float) -> float:
    return float(spacing(steps, min(at, float(steps[-1]))))
