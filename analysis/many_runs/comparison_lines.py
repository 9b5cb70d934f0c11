"""One mode of one run in a comparison, and how far two of them are apart."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.judging.thresholds import LEVEL
from critical_phase.analysis.jumps.series_change import SeriesChange
from critical_phase.analysis.scores.reached import mean_difference
from critical_phase.analysis.series import Series


@dataclass(frozen=True, slots=True)
class Line:
    """One mode of one run on the shared questions."""

    run: str
    mode: str
    accuracy: Series
    margin: Series
    change: SeriesChange | None
    """Of accuracy; None with too few checkpoints."""
    p_adjusted: float | None = None
    """Of that change, Benjamini-Hochberg over all runs and modes; None without one."""

    @property
    def placed(self) -> SeriesChange | None:
        """Return the change where it is abrupt after adjusting, and has a place."""
        change, p = self.change, self.p_adjusted
        if change is None or p is None or p > LEVEL:
            return None
        return change if change.test.found and change.placed else None


def pairs_with(lines: Sequence[Line], first: str) -> list[tuple[Line, Line]]:
    """Put every mode of every other run beside that mode of the first."""
    known = {line.mode: line for line in lines if line.run == first}
    return [(line, known[line.mode]) for line in lines if line.run != first and line.mode in known]


def gap_between(one: Series, other: Series) -> Series | None:
    """Subtract two series at their shared steps; None without one."""
    steps: Int[np.ndarray, " step"] = np.intersect1d(one.steps, other.steps)
    if not steps.size:
        return None
    parts = [series.per_question for series in (one, other)]
    kept = [
        part[np.isin(series.steps, steps)]
        for part, series in zip(parts, (one, other), strict=True)
        if part is not None
    ]
    gap = kept[0] - kept[1]
    return replace(one, steps=steps, value=gap.mean(axis=1), per_question=gap)


def last_gap(gap: Series | None, weights: Float[np.ndarray, "draw question"]) -> list[float | None]:
    """Return the difference at the last shared step, with its interval."""
    if gap is None or gap.per_question is None:
        return [None] * 3
    return [float(gap.value[-1]), *mean_difference(gap.per_question[-1], weights)]
