"""Which checkpoint of a control stands beside which of the run: equal steps, or equal rate."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inputs import Rows, Scored
from critical_phase.analysis.jumps.clock import HeadTimes
from critical_phase.analysis.jumps.series_change import SeriesChange
from critical_phase.analysis.scores.curves import NEEDS, combine, top_hits

NEAR = 0.1
"""Largest distance of two summed rates that count as equal, as a share of the run's."""


@dataclass(frozen=True, slots=True)
class Course:
    """The scores of one mode where they are defined, with their hits and a clock."""

    steps: Int[np.ndarray, " step"]
    scores: Float[np.ndarray, "step row"]
    hits: Float[np.ndarray, "step question"]
    time: Float[np.ndarray, " step"]
    """What two runs are matched by: steps, or the summed learning rate; NaN where unknown."""


@dataclass(frozen=True, slots=True)
class Beside:
    """Checkpoints of run and control that belong together, as places in their courses."""

    own: Int[np.ndarray, " pair"]
    other: Int[np.ndarray, " pair"]


def course(
    arrays: Scored, mode: str, weight: float, rates: Mapping[str, HeadTimes] | None
) -> Course:
    """Combine the heads of a mode where all its scores are defined.

    Args:
        arrays: A run, or a control on the rows of the run.
        mode: How heads are combined.
        weight: Weight of the subtracted term.
        rates: Summed learning rate of each head to match by; None: match by steps.
    """
    found = combine(arrays, mode, weight)
    hits = top_hits(arrays.rows, found.values).value
    kept = np.isfinite(hits).all(axis=1)
    steps = found.steps[kept]
    time = steps.astype(np.float64) if rates is None else _rate(rates, mode, steps)
    return Course(steps, found.values[kept], hits[kept], time)


def _rate(
    rates: Mapping[str, HeadTimes], mode: str, steps: Int[np.ndarray, " step"]
) -> Float[np.ndarray, " step"]:
    """Return the summed rate at the given steps, the mean over the heads of a mode."""
    found = np.full((len(NEEDS[mode]), steps.size), np.nan)
    for at, head in enumerate(NEEDS[mode]):
        if head in rates:
            known, total = rates[head]
            held = np.isin(steps, known)
            found[at, held] = total[np.searchsorted(known, steps[held])]
    return np.asarray(found.mean(axis=0))


def beside(own: Course, other: Course, *, exact: bool) -> Beside:
    """Find for every checkpoint of the run the one of the control at the same time.

    Args:
        own: The run.
        other: The control.
        exact: Only equal times count, else the nearest within a tenth of the run's.

    Returns:
        Pairs in the order of the run, as many as there are.
    """
    known = np.flatnonzero(np.isfinite(other.time))
    empty = np.zeros(0, dtype=np.int64)
    if not known.size:
        return Beside(empty, empty)
    gaps = np.abs(own.time[:, None] - other.time[None, known])
    nearest = gaps.argmin(axis=1)
    gap = gaps[np.arange(own.time.size), nearest]
    kept = np.flatnonzero(gap <= (0.0 if exact else NEAR) * own.time)
    return Beside(kept, known[nearest[kept]])


@dataclass(frozen=True, slots=True)
class Points:
    """Where accuracies are read: before the change, right after it, and at the end."""

    before: int
    """Place in the run's course."""
    after: int
    """Place among the pairs."""
    last: int
    """Place among the pairs."""


def points(own: Course, pairs: Beside, jump: SeriesChange | None) -> Points | str:
    """Choose the checkpoints to compare at, or say why there are none.

    Without a jump the whole series is compared: from its first step to its last.
    """
    steps = own.steps[pairs.own]
    if not steps.size:
        return "it has no checkpoint at a time of the run"
    if jump is None:
        return Points(0, steps.size - 1, steps.size - 1)
    begins = min(jump.tau - jump.width / 2, jump.interval[0])
    ends = max(jump.tau + jump.width / 2, jump.interval[1])
    early, late = np.flatnonzero(own.steps < begins), np.flatnonzero(steps >= ends)
    if not early.size:
        return f"the run has no defined checkpoint before its jump begins at step {begins:.0f}"
    if not late.size:
        return f"nothing of it can be compared after step {ends:.0f}, where the run's jump ends"
    return Points(int(early[-1]), int(late[0]), steps.size - 1)


@dataclass(frozen=True, slots=True)
class OnRows:
    """A control beside the rows of its run, to be combined as the run is."""

    rows: Rows
    heads: tuple[str, ...]
    step_lists: Mapping[str, Int[np.ndarray, " step"]]
    base: Float[np.ndarray, " row"]
    tables: Mapping[str, Float[np.ndarray, "step row"]]

    def steps(self, head: str) -> Int[np.ndarray, " step"]:
        """Return the steps of a head."""
        return self.step_lists[head]

    def base_scores(self) -> Float[np.ndarray, " row"]:
        """Return the scores without an adapter."""
        return self.base

    def scores(self, head: str) -> Float[np.ndarray, "step row"]:
        """Return the scores of a head."""
        return self.tables[head]
