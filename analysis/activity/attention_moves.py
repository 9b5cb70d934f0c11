"""Measure `attention_moves`: which attention heads changed abruptly, how much and when."""

from collections.abc import Mapping

import numpy as np

from critical_phase.analysis.inference.bootstrap import interval
from critical_phase.analysis.inputs import RunArrays
from critical_phase.analysis.jumps.ranked_change import RankedChange
from critical_phase.analysis.results import BOOTSTRAP, Map, MeasureResult, Table, column
from critical_phase.analysis.settings import AnalysisSettings

ABOUT = (
    "The attention heads of the ranked table of changes, as a grid: those that changed abruptly"
    " appear at their own step, in the colour of the size of the change. A head that moved need"
    " not matter for the output; freezing it would show that."
)


def attention_moves(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Show size and time of the change of every attention head.

    Args:
        arrays: The run.
        settings: Not needed here.
        done: Results of earlier measures, the ranked changes among them.

    Returns:
        One map per adapter head and a table; facts count abrupt changes per adapter head.
    """
    about = ("attention_moves", "Attention heads that moved", ABOUT, "docs/methods.md")
    if done is None or "changes" not in done:
        return MeasureResult(*about, {}, ("the ranked changes were not given: not computed",))
    facts = done["changes"].facts
    rows = {head: _rows(facts["ranked"], head) for head in arrays.heads}
    rows = {head: found for head, found in rows.items() if found}
    if not rows:
        return MeasureResult(*about, {}, ("no attention was given: not computed",))
    abrupt = {head: [row for row in found if row.abrupt] for head, found in rows.items()}
    maps = [_map(head, rows, arrays) for head in rows if abrupt[head]]
    return MeasureResult(
        *about,
        {"draws": settings.draws},
        tuple(
            f"no attention head of the {head} head changed abruptly"
            for head in rows
            if not abrupt[head]
        ),
        maps=tuple(maps),
        tables=(_table(rows, facts["weights"], arrays.batch_size),),
        facts={
            "moves": {
                head: {"tested": len(rows[head]), "abrupt": len(abrupt[head])} for head in rows
            }
        },
    )


def _rows(ranked: list[RankedChange], head: str) -> list[RankedChange]:
    """Return the drift of the attention heads of one adapter head, in order of place."""
    found = [row for row in ranked if row.change.series.quantity == f"attention_js.{head}"]
    return sorted(found, key=lambda row: _place(row))


def _place(row: RankedChange) -> tuple[int, int]:
    """Return layer and attention head."""
    series = row.change.series
    return series.layer or 0, series.attention_head or 0


def _map(head: str, rows: Mapping[str, list[RankedChange]], arrays: RunArrays) -> Map:
    """Light up every abruptly changed attention head from its step on."""
    steps = [int(s) for s in np.sort(np.asarray(arrays.activation_steps(head)))]
    others = sum(row.abrupt for name, found in rows.items() if name != head for row in found)
    values = [[_seen(row, step) if row.abrupt else None for step in steps] for row in rows[head]]
    return Map(
        f"attention_moved.{head}",
        f"Attention heads by size and step of their change, {head} head",
        "nats",
        head,
        "attention_head",
        [f"{layer}.{at}" for layer, at in map(_place, rows[head])],
        steps,
        values,
        True,
        None,
        f"Abrupt in the other adapter head: {others}." if len(rows) > 1 else "No second head.",
        "Size of the abrupt change of each attention head's drift from the base, from its step"
        " on; blank where no abrupt change was found. Rows are layer.attention head.",
    )


def _seen(row: RankedChange, step: int) -> float:
    """Return the size of a change that has happened by a step, else 0."""
    return float(row.change.size) if step >= row.change.tau else 0.0


def _table(rows: Mapping[str, list[RankedChange]], weights: np.ndarray, batch_size: int) -> Table:
    """List every attention head with its place, abrupt and large ones first."""
    ranked = sorted(
        (row for found in rows.values() for row in found),
        key=lambda row: (not row.abrupt, row.p_adjusted, -abs(row.change.size)),
    )
    lines: list[list[object]] = []
    for row in ranked:
        c = row.change
        last = c.series.per_question
        band = None if last is None else [float(v) for v in interval(weights @ last[-1])]
        when = [c.tau, list(c.interval), c.tau * batch_size] if row.abrupt else [None] * 3
        lines.append(
            [c.series.head, *_place(row), row.verdict, float(c.series.value[-1]), band,
             c.size if row.abrupt else None, *when, row.p_adjusted]
        )  # fmt: skip
    columns = [
        column("head", "head", kind="text"),
        column("layer", "layer"),
        column("attention_head", "attention head"),
        column("verdict", "verdict", kind="text"),
        column("last", "drift at the last step", "nats"),
        column("last_interval", "interval"),
        column("size", "size of the change", "nats"),
        column("tau", "tau", "step"),
        column("tau_interval", "interval"),
        column("examples", "tau", "examples"),
        column("p", "adjusted p (FDR)", kind="p"),
    ]
    caption = (
        f"Jensen-Shannon divergence of each attention head to the base; {BOOTSTRAP}. Verdict,"
        " tau and p are those of the ranked table, adjusted over everything in it."
    )
    return Table("attention_moves", "Attention heads", caption, columns, lines)
