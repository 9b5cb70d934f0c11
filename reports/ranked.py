"""The ranked table of changes: what, where, when, before or after the jump."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from critical_phase.reports.elements import Measure
from critical_phase.reports.style import NONE, interval, number, p_value
from critical_phase.reports.tables import Cell, View, lead_text, place, quantity_name

Json = dict[str, Any]

INTERVALS = (
    ("95 % question bootstrap plus training noise", "questions, training"),
    ("95 % training noise", "training"),
)
"""How intervals of the ranked table begin, and their short names."""

CAPTION = (
    "One row per quantity, in the order of the analysis. “When” is the estimated step with its"
    " interval, 95\u00a0% over what the last column names (resampled questions, noise of"
    " training); p is adjusted for the number of quantities tested. “With it”: the whole interval"
    " of the lead lies within what the jump's own width and the checkpoints resolve; “order not"
    " resolved”: it does not, and holds zero. All of it is one training run: other seeds are not"
    " included."
)


def ranked_changes(findings: Json, tested: Measure | None) -> list[Json]:
    """List the abrupt changes; without a jump those of the table of tests, which have no lead.

    Args:
        findings: The findings, whose changes are those that lead or follow the jump.
        tested: The measure `changes`, with one row for each quantity tested.
    """
    if findings.get("jump") or findings.get("changes"):
        return list(findings.get("changes") or ())
    return [_from_row(row) for row in _tests(tested) if row.get("verdict") == "abrupt"]


def changes_view(findings: Json, tested: Measure | None = None) -> View:
    """Rank the changes: what, where, when, how large, how sure, before or after the jump."""
    changes = ranked_changes(findings, tested)
    heads = (
        ("Rank", True), ("Quantity", False), ("Where", False), ("When (step)", True),
        ("When, drawn", False), ("Effect", True), ("p, adjusted", True),
        ("Steps before or after the jump", True), ("10-90 width (steps)", True),
        ("Interval of the step", False),
    )  # fmt: skip
    span = _span(changes, jump_mark(findings))
    rows = tuple(_change(rank, item, span) for rank, item in enumerate(changes, start=1))
    return View(
        "changes-ranked",
        "Changes, ranked",
        _without_jump(len(rows), findings) + CAPTION,
        heads,
        rows,
        _nothing(findings, tested),
    )


def _without_jump(count: int, findings: Json) -> str:
    """Say how many changes there are where no jump of accuracy can lead or follow them."""
    if findings.get("jump") or not count:
        return ""
    what = "1 quantity changes" if count == 1 else f"{count} quantities change"
    return f"{what} abruptly. Accuracy has no jump, so nothing leads or follows it. "


def _nothing(findings: Json, tested: Measure | None) -> str:
    """Say why the list is empty, where it is."""
    tests = _tests(tested)
    abrupt = sum(row.get("verdict") == "abrupt" for row in tests)
    if not tests:
        return "Nothing to list."
    if not abrupt:
        return f"None of the {len(tests)} quantities tested changes abruptly."
    return (
        f"{abrupt} of {len(tests)} quantities change abruptly, none with a place beside the jump."
    )


def _tests(tested: Measure | None) -> list[Json]:
    """Return the rows of the table of tests by name, in its order."""
    tables = [t for t in tested.tables if t.id == "changes"] if tested else []
    return [
        dict(zip((column.key for column in table.columns), row, strict=True))
        for table in tables
        for row in table.rows
    ]


def _from_row(row: Json) -> Json:
    """Read a row of the table of tests as a change of the findings without a lead."""
    layer = row.get("layer")
    return {
        "quantity": row.get("quantity"),
        "title": row.get("title"),
        "layer": None if layer is None else -1 if layer == "embed" else int(layer),
        "head": row.get("attention_head"),
        "tau_step": row.get("tau_step"),
        "interval_steps": None if row.get("low") is None else [row["low"], row["high"]],
        "effect": row.get("effect"),
        "p_adjusted": row.get("p_adjusted"),
        "lead_steps": None,
        "lead_interval": None,
        "width_steps": row.get("width"),
        "width_at_limit": str(row.get("width_text")).startswith(">="),
        "interval_kind": row.get("interval"),
    }


def jump_mark(findings: Json) -> tuple[float, float, float] | None:
    """Give step and interval of the jump, both in steps."""
    jump = findings.get("jump")
    if not jump or jump.get("tau_step") is None:
        return None
    tau, examples = float(jump["tau_step"]), jump.get("tau_examples")
    low, high = jump.get("interval_examples") or (None, None)
    if not examples or not tau or low is None or high is None:
        return tau, tau, tau
    return tau, low * tau / examples, high * tau / examples


def _interval_name(kind: Any) -> str:
    """Shorten the kind of an interval for a narrow column; the caption says the rest."""
    text = str(kind or NONE)
    for long, short in INTERVALS:
        if text.startswith(long):
            return short
    return text


def width_text(change: Json, write: Callable[[Any], str]) -> str:
    """Write a width; at the edge of what was tried it is a lower bound."""
    text = write(change.get("width_steps"))
    return f"≥ {text}" if change.get("width_at_limit") and text != NONE else text


def _span(changes: Sequence[Json], mark: tuple[float, float, float] | None) -> tuple[float, float]:
    ends = [
        float(value)
        for item in changes
        for value in (*(item.get("interval_steps") or ()), item.get("tau_step"))
        if value is not None
    ]
    ends += list(mark) if mark else []
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    return (low, high) if high > low else (low - 1, high + 1)


def _change(rank: int, item: Json, span: tuple[float, float]) -> tuple[Cell, ...]:
    tau, pair = item.get("tau_step"), item.get("interval_steps")
    lead = item.get("lead_interval")
    link = state_link(item)
    drawn = ""
    if tau is not None:
        low, high = pair or (tau, tau)
        drawn = " ".join(f"{_share(x, span):.1f}" for x in (low, tau, high))
    return (
        Cell(str(rank), rank, number=True),
        Cell(change_name(item), change_name(item)),
        Cell(place(item), place(item)),
        Cell(number(tau), tau, number=True, href=link, note=interval(tuple(pair)) if pair else ""),
        Cell(drawn, tau, number=True),
        Cell(number(item.get("effect")), item.get("effect"), number=True),
        Cell(p_value(item.get("p_adjusted")), item.get("p_adjusted"), number=True),
        Cell(
            lead_text(item),
            item.get("lead_steps"),
            number=True,
            note=interval(tuple(lead)) if lead else "",
        ),
        Cell(width_text(item, number), item.get("width_steps"), number=True),
        Cell(_interval_name(item.get("interval_kind")), str(item.get("interval_kind") or "")),
    )


def state_link(change: Json) -> str:
    """Address the page at a change: its step, layer, attention head and adapter head."""
    if change.get("tau_step") is None:
        return ""
    parts = [f"step={round(change['tau_step'])}"]
    parts += [f"{key}={change[key]}" for key in ("layer", "head") if change.get(key) is not None]
    adapter = str(change.get("quantity")).split(".")[-1]
    parts += [f"adapter={adapter}"] if adapter in ("positive", "negative") else []
    return "#" + "&".join(parts)


def change_name(item: Json) -> str:
    """Name a change without its place, which has a column of its own."""
    title = re.sub(r", (layer|(attention )?head) [\w.]+(?=,|$)", "", str(item.get("title") or ""))
    title = title or quantity_name(str(item.get("quantity")))
    return title[0].upper() + title[1:]


def _share(value: float | int, span: tuple[float, float]) -> float:
    return 4 + 112 * (float(value) - span[0]) / (span[1] - span[0])


def jump_share(findings: Json) -> float | int | None:
    """Place the jump on the small time line of the ranked table."""
    mark = jump_mark(findings)
    return _share(mark[0], _span(findings.get("changes") or (), mark)) if mark else None
