"""Doses of an intervention: does more bring more, is there a barrier, where do questions cross?"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

from critical_phase.analysis.inference.bootstrap import interval
from critical_phase.analysis.interventions.intervention_effect import Number, number
from critical_phase.analysis.interventions.intervention_frame import Frame
from critical_phase.errors import ShapeError

FEWEST_DOSES = 3
"""Two doses say no more than the effect itself: nothing, and all of it."""


@dataclass(frozen=True, slots=True)
class DoseResponse:
    """Margin by dose."""

    doses: tuple[float, ...]
    """Ascending."""
    share: tuple[Number, ...]
    """Part of the margin's change that is there at each dose; where `lost`, that is gone."""
    accuracy: tuple[Number | None, ...]
    rise: Number
    """Share at the last dose minus share at the first."""
    drops: tuple[Number, ...]
    """Share at each dose minus that at the next: above 0 where more brings less."""

    @property
    def monotone(self) -> bool:
        """Say whether the whole rise is real and no single drop is."""
        return self.rise.interval[0] > 0 and all(one.interval[0] <= 0 for one in self.drops)


def dose_response(
    frame: Frame,
    doses: Float[np.ndarray, " dose"],
    acting: Float[np.ndarray, "dose row"],
    part: Bool[np.ndarray, " question"],
    *,
    lost: bool = False,
) -> DoseResponse:
    """Read a line of doses.

    Args:
        frame: Early and late model, and how scores are made.
        doses: In any order; at least two, all different.
        acting: Log-likelihoods of the acting head at each.
        part: Marks the questions that are used.
        lost: Whether a dose takes something out of the late model, so that more of it leaves less.

    Raises:
        ShapeError: Fewer than two doses, or one twice.
    """
    order = _order(doses, acting)
    weights, (early, late) = frame.weights(part), (one[part] for one in frame.ends)
    margin = frame.margins(acting[order])[:, part]
    hits = frame.hits(acting[order])[:, part]
    total, below = float((late - early).sum()), weights @ (late - early)

    def share(values: np.ndarray) -> Number:
        low, high = interval((weights @ values) / below)
        return Number(float(values.sum() / total), (float(low), float(high)))

    done = late - margin if lost else margin - early
    return DoseResponse(
        tuple(float(x) for x in doses[order]),
        tuple(share(line) for line in done),
        tuple(number(h, weights) if np.isfinite(h).all() else None for h in hits),
        share(done[-1] - done[0]),
        tuple(share(one - after) for one, after in pairwise(done)),
    )


@dataclass(frozen=True, slots=True)
class Barrier:
    """How far a quantity falls below the straight line between two ends of a path."""

    height: Number
    """Largest shortfall along the path, in units of the quantity; 0 where there is none. The
    interval is of the largest over doses, which resampling pushes upwards."""
    dose: float
    """Where it is largest."""


def barrier(
    doses: Float[np.ndarray, " dose"],
    values: Float[np.ndarray, "dose question"],
    weights: Float[np.ndarray, "draw question"],
) -> Barrier:
    """Measure the barrier between the doses 0 and 1; others are left out.

    Args:
        doses: In any order; 0 and 1 are among them.
        values: Larger is better: margins, or minus a loss.
        weights: Of the question bootstrap.

    Raises:
        ShapeError: 0 or 1 is missing.
    """
    if not {0.0, 1.0} <= set(doses.tolist()):
        raise ShapeError("a barrier is measured between the doses 0 and 1, and one is missing")
    inside = (doses >= 0) & (doses <= 1)
    at, curve = doses[inside], values[inside]
    line = np.outer(1 - at, values[doses == 0.0][0]) + np.outer(at, values[doses == 1.0][0])
    short = line - curve
    means = short.mean(axis=1)
    low, high = interval((weights @ short.T).max(axis=1))
    best = float(max(means.max(), 0.0))
    spread = (min(max(float(low), 0.0), best), max(float(high), best))
    return Barrier(Number(best, spread), float(at[int(np.argmax(means))]))


@dataclass(frozen=True, slots=True)
class Crossings:
    """Doses at which questions turn right."""

    quantiles: tuple[float, ...]
    """Quarter, half and three quarters of the doses at which questions cross; empty where fewer
    than four do."""
    cross: int
    """Questions that are wrong at the first dose and right at a later one."""
    never: int
    """Wrong at every dose."""
    always: int
    """Right at the first dose."""


def crossings(
    doses: Float[np.ndarray, " dose"], margin: Float[np.ndarray, "dose question"]
) -> Crossings:
    """Find per question the first dose at which its margin passes zero, between two by a line."""
    order = np.argsort(doses)
    at, curve = doses[order], margin[order]
    right = curve > 0
    first = right.argmax(axis=0)
    always, never = int(right[0].sum()), int((~right.any(axis=0)).sum())
    found = []
    for question in np.flatnonzero(~right[0] & right.any(axis=0)):
        i = int(first[question])
        below, above = curve[i - 1, question], curve[i, question]
        found.append(at[i - 1] + (at[i] - at[i - 1]) * float(-below / (above - below)))
    quantiles = (
        tuple(float(x) for x in np.quantile(found, (0.25, 0.5, 0.75))) if len(found) > 3 else ()
    )
    return Crossings(quantiles, len(found), never, always)


def _order(doses: np.ndarray, acting: np.ndarray) -> np.ndarray:
    if doses.size < 2 or np.unique(doses).size < doses.size or len(acting) != doses.size:
        raise ShapeError(
            f"{doses.size} doses ({np.unique(doses).size} different) and {len(acting)} lines of"
            " scores: two or more different doses with one line each are needed"
        )
    return np.asarray(np.argsort(doses))
