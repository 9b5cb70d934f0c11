"""Tables of a page and the CSV files beside it."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from critical_phase.reports.elements import Table, TokenView
from critical_phase.reports.panels import Chart, MapFigure
from critical_phase.reports.style import NONE, interval, number, p_value, words

Json = dict[str, Any]

HYPOTHESES = {
    "H0a": ("only the metric", "the margin moves smoothly; accuracy merely crosses a threshold"),
    "H0b": ("a noise floor", "rounding hid the signal until it grew large enough"),
    "H0c": ("the schedule", "warm-up, decay or the optimiser sets the moment, not the examples"),
    "H1": ("growing scale", "the direction is there early and only its size grows"),
    "H2": ("answer prior or format", "the negative head learns how answers usually read"),
    "H3": ("a style detector", "the negative head learns the style of wrong answers"),
    "H4": ("one constant vector", "one added direction, the same for every question"),
    "H5": ("reading out an old feature", "the model knew before; now it says so"),
    "H6": ("a new representation", "a feature forms in the middle layers at the jump"),
    "H7": ("rerouted attention", "a few attention heads start to look elsewhere"),
    "H8": ("training instability", "the optimiser hops into another basin"),
    "H9": ("many small switches", "single questions flip at different steps"),
}
"""Hypothesis -> short name, what it says."""

ORDERS = {"with": ": with it", "unresolved": ": order not resolved"}
"""Order of a change that is not before or after the jump -> what is said behind its lead."""

MOST_COLUMNS, MOST_ROWS, MOST_CELLS = 12, 24, 150
"""Size above which a table of an analysis starts folded."""

NUMBERS = re.compile(r"[\d.]+(, [\d.]+){1,7}")
"""A short list of numbers."""

MOST_SHOWN = 200
"""Rows of one table on a page; the CSV beside it has all."""

SIGNS = {"supported": "✓", "excluded": "✕", "not separable": "≈", "not tested": "·"}
"""Verdict -> sign, so that colour never stands alone."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: what is read, and what it is sorted by."""

    text: str
    sort: float | int | str | None = None
    number: bool = False
    href: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """A table as the template draws it."""

    id: str
    title: str
    caption: str
    columns: tuple[tuple[str, bool], ...]
    """Heading, and whether the column holds numbers."""
    rows: tuple[tuple[Cell, ...], ...]
    empty: str = "Nothing to list."
    """What is said where there are no rows."""

    @property
    def large(self) -> bool:
        """Whether the table starts folded."""
        wide, tall = len(self.columns), len(self.rows)
        return wide > MOST_COLUMNS or tall > MOST_ROWS or wide * tall > MOST_CELLS


def table_view(table: Table) -> View:
    """Format a table of an analysis file."""
    heads = tuple(
        (_heading(column.label, column.unit), column.kind != "text") for column in table.columns
    )
    kinds = [column.kind for column in table.columns]
    rows = tuple(
        tuple(_cell(value, kind) for value, kind in zip(row, kinds, strict=True))
        for row in table.rows[:MOST_SHOWN]
    )
    left = len(table.rows) - len(rows)
    note = f" Shown: the first {len(rows)} rows; {left} more are in the CSV file." if left else ""
    return View(table.id, table.title, table.caption + note, heads, rows)


def place(change: Json) -> str:
    """Say where a change sits: layer and attention head."""
    layer, head = change.get("layer"), change.get("head")
    parts = [] if layer is None else ["embedding" if layer == -1 else f"layer {layer}"]
    return ", ".join(parts + ([] if head is None else [f"attention head {head}"]))


def quantity_name(quantity: str) -> str:
    """Read a quantity id such as `probe_top1.negative` aloud."""
    stem, _, rest = quantity.partition(".")
    known = {
        "accuracy": "accuracy",
        "margin": "margin",
        "probe_top1": "linear-probe accuracy",
        "probe_pairs": "right pairs of the linear probe",
        "readout_gap": "probe minus scores",
        "displacement": "displacement of activations",
        "constant_shift": "share of one constant shift",
        "attention_js": "attention change (Jensen-Shannon)",
        "head_write": "what an attention head writes",
        "head_importance": "importance of an attention head",
        "sparsity_hoyer": "sparsity (Hoyer)",
        "lora_norm": "norm of the update",
    }.get(stem, words(stem))
    return f"{known}, {words(rest)}" if rest else known


def lead_text(change: Json) -> str:
    """Say how many steps before (negative) or after the jump of accuracy a change came.

    Where its interval claims no order that is said too: with the jump, or not resolved.
    """
    lead = change.get("lead_steps")
    if lead is None:
        return NONE
    text = "same step" if lead == 0 else f"{number(abs(lead))} {'before' if lead < 0 else 'after'}"
    return text + ORDERS.get(str(change.get("order")), "")


def lead_span(change: Json) -> str:
    """Say the lead with its interval in the same words: `4 [2, 6] before`."""
    lead, pair = change.get("lead_steps"), change.get("lead_interval")
    if lead is None or not pair or None in pair:
        return lead_text(change)
    tail = ORDERS.get(str(change.get("order")), "")
    if pair[0] * pair[1] > 0 and lead:
        near, far = sorted(abs(end) for end in pair)
        way = "before" if lead < 0 else "after"
        return f"{number(abs(lead))} [{number(near)}, {number(far)}] {way}{tail}"
    ends = " to ".join(_side(end) for end in pair)
    return f"{_side(lead)} [{ends}]{tail}"


def _side(steps: float) -> str:
    """Say how far on which side of the jump."""
    return "0" if steps == 0 else f"{number(abs(steps))} {'before' if steps < 0 else 'after'}"


def chart_rows(chart: Chart) -> Iterable[Sequence[Any]]:
    """List every number of a chart, exactly."""
    yield (
        "curve",
        "label",
        "head",
        "mode",
        "layer",
        "n",
        "step",
        "examples",
        "value",
        "low",
        "high",
    )
    for c in chart.curves:
        for i, step in enumerate(c.steps):
            bounds = (c.low[i] if c.low else None, c.high[i] if c.high else None)
            identity = (c.id, c.label, c.head, c.mode, c.layer, c.n)
            yield (*identity, step, c.examples[i], c.value[i], *bounds)


def map_rows(figure: MapFigure) -> Iterable[Sequence[Any]]:
    """List every number of a map figure, exactly."""
    yield ("map", "head", figure.maps[0].row_name, "step", "value", "low", "high")
    for item in figure.maps:
        for i, label in enumerate(item.row_labels):
            for j, step in enumerate(item.steps):
                bounds = (
                    item.low[i][j] if item.low else None,
                    item.high[i][j] if item.high else None,
                )
                yield (item.id, item.head, label, step, item.values[i][j], *bounds)


def table_rows(table: Table) -> Iterable[Sequence[Any]]:
    """List a table as it was saved."""
    yield tuple(column.key for column in table.columns)
    yield from table.rows


def token_rows(views: Sequence[TokenView]) -> Iterable[Sequence[Any]]:
    """List scores and attention of the chosen questions: a line per step, a column per token."""
    rows = [row for view in views for row in _token_rows(view)]
    wide = max((len(row) for row in rows), default=6)
    names = ("question_id", "candidate", "correct", "step", "quantity", "value")
    yield (*names, *(f"token_{at}" for at in range(wide - len(names))))
    yield from ((*row, *(None,) * (wide - len(row))) for row in rows)


def _token_rows(view: TokenView) -> Iterable[tuple[Any, ...]]:
    for number_, item in enumerate(view.candidates):
        identity = (view.question_id, number_, item.get("correct"))
        for head in ("positive", "negative"):
            for step, value in zip(view.steps, item.get(head) or (), strict=False):
                yield (*identity, step, f"log-likelihood {head}", value)
        for entry in item.get("attention") or ():
            name = f"attention layer {entry.get('layer')} head {entry.get('attention_head')}"
            for step, row in zip(view.steps, entry.get("values") or (), strict=False):
                yield (*identity, step, name, None, *row)


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Write rows as CSV; a text that a spreadsheet would run as a formula gets a quote."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([_harmless(value) for value in row] for row in rows)
    return stream.getvalue()


def _heading(label: str, unit: str) -> str:
    if len(label.split(" ")[0]) > 1:
        label = label[0].upper() + label[1:]
    return f"{label} ({unit})" if unit else label


def _harmless(value: Any) -> Any:
    risky = isinstance(value, str) and len(value) > 1 and value[0] in "=+-@\t\r"
    return f"'{value}" if risky else value


def _cell(value: Any, kind: str) -> Cell:
    if isinstance(value, bool):
        return Cell("yes" if value else "no", int(value))
    if isinstance(value, list | tuple) and len(value) == 2:
        return Cell(interval((value[0], value[1])), value[0], number=True)
    if isinstance(value, int | float):
        text = p_value(value) if kind == "p" else number(value)
        return Cell(text, value, number=True)
    if value is None:
        return Cell(NONE, None, number=kind != "text")
    text = str(value)
    if NUMBERS.fullmatch(text):
        text = text.replace(" ", "\u00a0")  # "1, 2, 4" stays on one line
    return Cell(text, str(value))
