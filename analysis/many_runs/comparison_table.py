"""The table of a comparison: last accuracies and places, with their differences."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inference.bootstrap import interval
from critical_phase.analysis.judging.thresholds import LEVEL
from critical_phase.analysis.jumps.change_point import FEWEST
from critical_phase.analysis.jumps.resolution import near, order_of
from critical_phase.analysis.jumps.series_change import SeriesChange
from critical_phase.analysis.many_runs.comparison_lines import (
    Line,
    gap_between,
    last_gap,
    pairs_with,
)
from critical_phase.analysis.results import Table, column

ONE = (
    "one training each: every interval is over questions, and another seed may differ by more;"
    " probe seeds takes several seeds of one design together"
)
"""What the intervals of a comparison leave out."""


def comparison_table(
    lines: Sequence[Line], first: str, weights: Float[np.ndarray, "draw question"], scale: int
) -> Table:
    """List last accuracies and places, with their differences to the first run."""
    beside = {id(line): other for line, other in pairs_with(lines, first)}
    ordered = sorted(lines, key=lambda line: line.mode)
    rows = [_row(line, beside.get(id(line)), weights, scale) for line in ordered]
    columns = [
        column("run", "run", kind="text"),
        column("mode", "mode", kind="text"),
        column("start", "first accuracy", "share"),
        column("last", "last accuracy", "share"),
        column("last_low", "low", "share"),
        column("last_high", "high", "share"),
        column("difference", "last, minus the first run's", "share"),
        column("difference_low", "low", "share"),
        column("difference_high", "high", "share"),
        column("verdict", "change", kind="text"),
        column("tau", "tau", "examples"),
        column("tau_low", "low", "examples"),
        column("tau_high", "high", "examples"),
        column("lead", "tau, minus the first run's", "examples"),
        column("lead_low", "low", "examples"),
        column("lead_high", "high", "examples"),
        column("order", "before, with or after the first run's", kind="text"),
        column("p_adjusted", "adjusted p of the change (FDR)", kind="p"),
    ]
    caption = (
        "Differences of the last accuracy are taken at the last step that both runs have, paired"
        " over questions; those of places on the same resamples, never finer than the checkpoints."
        f" A place is given where the change is abrupt (adjusted p at most {LEVEL:g}). Where the"
        " interval of such a difference holds zero the two are with one another only if all of it"
        " lies within half the first change's 10-90 width or three gaps between checkpoints, else"
        f" unresolved. {ONE}."
    )
    return Table("comparison", "Runs side by side", caption, columns, rows)


def _row(
    line: Line, beside: Line | None, weights: Float[np.ndarray, "draw question"], scale: int
) -> list[object]:
    """Write one mode of one run."""
    values = line.accuracy.per_question
    assert values is not None
    low, high = (float(end) for end in interval(weights @ values[-1]))
    gap = None if beside is None else gap_between(line.accuracy, beside.accuracy)
    change = line.placed
    place = [None] * 3 if change is None else [change.tau, *change.interval]
    lead, order = _lead(change, None if beside is None else beside.placed)
    return [
        line.run, line.mode, float(line.accuracy.value[0]), float(line.accuracy.value[-1]), low,
        high, *last_gap(gap, weights), _verdict(line),
        *(None if end is None else end * scale for end in (*place, *lead)), order,
        line.p_adjusted,
    ]  # fmt: skip


def _lead(
    one: SeriesChange | None, other: SeriesChange | None
) -> tuple[list[float | None], str | None]:
    """Return how much later one place is than the other, on shared draws, and their order.

    None without both places.
    """
    if one is None or other is None or one.draws is None or other.draws is None:
        return [None] * 3, None
    gap = one.tau - other.tau
    reach = (one.resolution + other.resolution) / 2
    low, high = (float(end) for end in interval(one.draws - other.draws))
    band = (min(low, gap - reach), max(high, gap + reach))
    floor = max(one.resolution, other.resolution)
    return [gap, *band], order_of(gap, band, floor, near(floor, other.width))


def _verdict(line: Line) -> str:
    """Name the kind of change."""
    if line.change is None:
        return f"fewer than {FEWEST} checkpoints"
    return "not abrupt" if line.placed is None else "abrupt"
