"""Interventions as a measure of the page: maps over donor steps, and the numbers as tables."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from critical_phase.reports.causes_columns import columns
from critical_phase.reports.causes_pairs import pair_tables
from critical_phase.reports.causes_rest import generation_tables, training_tables
from critical_phase.reports.causes_shapes import Answer, Causes, Cell, Pairs, Share
from critical_phase.reports.elements import Map, Measure, Table
from critical_phase.reports.text import visible

MEASURE = "interventions"
"""Its name among the measures."""
UNIT = "share of the margin's change"
BAND = "95 % question bootstrap"
ANSWER = (
    ("plan", "Plan", "text"),
    ("about", "What was changed", "text"),
    ("does", "Does", "text"),
    ("share", "Share", "number"),
    ("interval", "95 % interval", "number"),
    ("control", "Control", "text"),
    ("control_share", "Control's share", "number"),
    ("control_interval", "Its interval", "number"),
    ("control_another", "One more draw of it", "number"),
    ("opposite", "Other direction", "number"),
    ("opposite_interval", "Its interval", "number"),
    ("exploratory", "Share where it was chosen", "number"),
    ("accuracy", "Accuracy", "number"),
    ("singles", "Middle half of single questions", "number"),
    ("elsewhere", "Most elsewhere", "number"),
    ("peers", "One more set of as many places", "number"),
    ("drift", "Drift, neutral text", "number"),
    ("drift_late", "Drift of the late model", "number"),
    ("second", "Other task, change", "number"),
    ("met", "Points met", "number"),
    ("setting", "Held against", "text"),
    ("file", "File", "text"),
)
"""Columns of the table of answers: key, heading, kind."""
_STEP = re.compile(r"@(\d+)$")


def as_measure(found: Causes) -> Measure:
    """Turn what interventions found into an element of the page."""
    maps = [item for answer in found.answers for item in _donor_maps(answer, found)]
    cells = [_cell_table(answer, found) for answer in found.answers if answer.cells]
    tables = [_answer_table(found), _point_table(found)] if found.answers else []
    tables += [*training_tables(found.trainings), *generation_tables(found.generations)]
    tables += [*pair_tables(found), *cells]
    return Measure(
        measure=MEASURE,
        title="Interventions",
        about="Share = sum (m_changed - m_early) / sum (m_late - m_early) over questions, m being "
        "the margin: 0 is the early model, 1 the late one."
        if found.answers or found.pairs
        else "",
        reference="",
        settings={},
        warnings=(),
        curves=(),
        maps=tuple(maps),
        tables=tuple(tables),
        tokens=(),
    )


def suffix(answer: Answer | Pairs, found: Causes) -> str:
    """Tell answers of several settings apart in titles; nothing where there is one."""
    own = answer.setting
    return f", {own.early} to {own.late}" if len(found.settings) > 1 else ""


def where(axes: Mapping[str, Any]) -> str:
    """Say where a cell changes something: its axes without set and direction."""
    hidden = {"set", "direction", "label", "draw", "dose"}
    return ", ".join(f"{key} {value}" for key, value in sorted(axes.items()) if key not in hidden)


def _donor_maps(answer: Answer, found: Causes) -> Iterable[Map]:
    """Lay out what every module of further steps brings, by module and step."""
    placed: dict[tuple[int, str], dict[int, Cell]] = {}
    for cell in answer.cells:
        step = _STEP.search(str(cell.axes.get("donor", "")))
        if cell.axes.get("set") == "map" and step and isinstance(cell.axes.get("layer"), int):
            place = int(cell.axes["layer"]), str(cell.axes.get("module", ""))
            placed.setdefault(place, {})[int(step[1])] = cell
    steps = tuple(sorted({step for row in placed.values() for step in row}))
    if not steps:
        return
    rows = [[placed[place].get(step) for step in steps] for place in sorted(placed)]
    own = answer.setting
    yield Map(
        id=f"graft_share.{answer.name}",
        title=visible(f"What each module of further steps brings{suffix(answer, found)}"),
        unit=UNIT,
        head=None,
        row_name="module",
        row_labels=tuple(visible(f"{layer}.{module}") for layer, module in sorted(placed)),
        layer=None,
        steps=steps,
        values=_part(rows, "value"),
        low=_part(rows, "low"),
        high=_part(rows, "high"),
        diverging=True,
        range=None,
        n=answer.raw.get("questions"),
        interval=BAND,
        control="none of its own; random updates of the same norm are drawn for whole sets only, "
        "and stand beside each answer above.",
        caption=visible(
            f"The adapter rows of one module of the step below, {own.head} head, put into the "
            f"model of {own.early}. 0: nothing is brought."
        ),
    )


def _part(rows: Sequence[Sequence[Cell | None]], name: str) -> tuple[tuple[float | None, ...], ...]:
    return tuple(
        tuple(getattr(cell.share, name) if cell and cell.share else None for cell in row)
        for row in rows
    )


def _answer_table(found: Causes) -> Table:
    rows = tuple(_answer_row(answer) for answer in found.answers)
    caption = (
        "One line per answer. Shares of the questions that chose nothing; drift in nats per token, "
        "KL(changed || early) on neutral text; accuracy of the changed model; ratios of single "
        "questions are of those that moved by more than a tenth of the mean."
    )
    return Table("answers", "Every answer", caption, columns(*ANSWER), rows)


def _answer_row(answer: Answer) -> tuple[Any, ...]:
    raw = answer.raw
    effect, exploratory = raw.get("effect") or {}, raw.get("exploratory") or {}
    drift, second = raw.get("drift") or {}, raw.get("second") or {}
    elsewhere = [_does(answer, one.get("share")) for one in raw.get("elsewhere") or ()]
    return (
        answer.plan, answer.about, answer.verb, *_two(answer.share), answer.control,
        *_two(answer.control_share), raw.get("control_another"), *_two(answer.opposite),
        _does(answer, exploratory.get("share")), effect.get("accuracy"), _middle(answer),
        max((share for share in elsewhere if share is not None), default=None),
        (raw.get("peers") or {}).get("another"),
        (drift.get("cell") or {}).get("mean"), (drift.get("late") or {}).get("mean"),
        second.get("change"), answer.met, answer.setting.text, answer.file,
    )  # fmt: skip


def _does(answer: Answer, there: float | None) -> float | None:
    """Turn a share that is there into what the change does."""
    return 1 - there if answer.lost and there is not None else there


def _middle(answer: Answer) -> list[float] | None:
    """Give the quartiles of single questions, as what the change does to each."""
    found = (answer.raw.get("effect") or {}).get("single_question_quantiles")
    if not isinstance(found, list) or len(found) != 5:
        return None
    low, high = float(found[1]), float(found[3])
    return [1 - high, 1 - low] if answer.lost else [low, high]


def _point_table(found: Causes) -> Table:
    heads = (("about", "What was changed", "text"), ("number", "Point", "number"),
             ("asks", "Asks for", "text"), ("state", "State", "text"), ("found", "Found", "text"),
             ("file", "File", "text"))  # fmt: skip
    rows = tuple(
        (answer.about, point.number, point.asks, point.state, point.found, answer.file)
        for answer in found.answers
        for point in answer.points
    )
    caption = "The seven points of the word cause, for every answer."
    return Table("points", "The seven points of every answer", caption, columns(*heads), rows)


def _cell_table(answer: Answer, found: Causes) -> Table:
    heads = (("cell", "Cell", "text"), ("set", "Set", "text"), ("direction", "Direction", "text"),
             ("where", "Where", "text"), ("dose", "Dose", "number"), ("draw", "Draw", "number"),
             ("share", "Share that is there", "number"), ("interval", "95 % interval", "number"),
             ("exploratory", "Share where it was chosen", "number"),
             ("accuracy", "Accuracy", "number"))  # fmt: skip
    rows = tuple(
        (cell.name, cell.axes.get("set"), cell.axes.get("direction"), where(cell.axes),
         cell.axes.get("dose"), cell.axes.get("draw"), *_two(cell.share), cell.exploratory,
         cell.accuracy.value if cell.accuracy else None)
        for cell in answer.cells
    )  # fmt: skip
    caption = (
        "Everything that was scored for this plan. The share is what is there with the change; "
        "where the late model was changed (noise), 1 minus it is what was taken away."
    )
    title = visible(f"Every cell of {answer.intervention}{suffix(answer, found)}")
    return Table(f"cells {answer.name}", title, caption, columns(*heads), rows)


def _two(share: Share | None) -> tuple[float | None, list[float] | None]:
    if share is None:
        return None, None
    known = share.low is not None and share.high is not None
    return share.value, [share.low, share.high] if known else None  # type: ignore[list-item]
