"""Tables of what stands beside interventions: training-time tests and free answers."""

from collections.abc import Sequence
from typing import Any

from critical_phase.reports.causes_columns import columns
from critical_phase.reports.causes_shapes import MET, Json
from critical_phase.reports.elements import Table
from critical_phase.reports.text import visible


def training_tables(tests: Sequence[Json]) -> list[Table]:
    """List the training-time tests: what was withheld, and what became of the jump."""
    if not tests:
        return []
    heads = columns(
        ("about", "Withheld in training", "text"),
        ("kind", "The jump", "text"),
        ("tau", "Its step then", "number"),
        ("tau_interval", "95 % interval", "number"),
        ("share", "Share missing", "number"),
        ("interval", "Its interval", "number"),
        ("control", "Control", "text"),
        ("control_kind", "The jump with it", "text"),
        ("control_share", "Share missing with it", "number"),
        ("met", "Point 6", "text"),
        ("why", "Why", "text"),
    )
    caption = (
        "Trainings in which a component was held still, or taken out, while the jump would form, "
        "beside one in which something else of the same size was. Where no step is given it lies "
        "beyond the last checkpoint. One training of each: intervals are over questions, not "
        "over seeds."
    )
    rows = tuple(_training_row(test) for test in tests)
    return [Table("training", "Without it in training", caption, heads, rows)]


def _training_row(test: Json) -> tuple[Any, ...]:
    training = test["training"]
    own, controls = training["test"], training.get("controls") or []
    return (
        test["about"], own.get("kind"), own["tau"].get("steps"),
        _pair(own["tau"].get("interval_steps")), test.get("share"), _pair(test.get("interval")),
        test.get("control"), "; ".join(str(one.get("kind")) for one in controls) or None,
        test.get("control_share"), MET[training["met"]][1], training.get("why") or None,
    )  # fmt: skip


def generation_tables(summaries: Sequence[Json]) -> list[Table]:
    """List how often free answers were right, one table for each step."""
    return [
        Table(
            f"generation {at} step {one.get('step')}",
            visible(f"Free answers at step {one.get('step')}"),
            _generation_caption(one),
            columns(
                ("way", "Way", "text"),
                ("right", "Right", "number"),
                ("interval", "95 % interval", "number"),
                ("wrong", "Wrong", "number"),
                ("at_limit", "Ran into the limit", "number"),
                ("chosen", "Strength chosen", "text"),
            ),
            tuple(_way_row(way) for way in one["ways"]),
        )
        for at, one in enumerate(summaries)
    ]


def _generation_caption(one: Json) -> str:
    said = "; ".join(str(text) for text in one.get("sentences") or ())
    about = (
        "Share of questions answered rightly in free text. The strength of contrast and merged "
        "heads was chosen on other questions."
    )
    return visible(f"{about} {said}".strip())


def _way_row(way: Json) -> tuple[Any, ...]:
    shares = way["shares"]
    right, wrong = shares.get("right") or {}, shares.get("wrong") or {}
    strength = way.get("alpha") is not None
    return (
        way["name"], right.get("value"), _pair(right.get("interval")), wrong.get("value"),
        (way.get("at_limit") or {}).get("value"),
        ("yes" if way["chosen"] else "no") if strength else "no strength",
    )  # fmt: skip


def _pair(value: Any) -> Any:
    """Keep an interval of which both ends are known."""
    return value if isinstance(value, list) and len(value) == 2 and None not in value else None
