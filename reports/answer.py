"""The answer at the head of a page, and the two tables made of findings."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from critical_phase.reports.style import NONE, brief, interval, number, p_value
from critical_phase.reports.tables import (
    HYPOTHESES,
    SIGNS,
    Cell,
    View,
    lead_text,
    place,
    quantity_name,
)
from critical_phase.reports.text import scrub

Json = dict[str, Any]

MODES = {
    "likra": "both heads (likra)",
    "sft": "the positive head alone (sft)",
    "base_likra": "base and negative head (base_likra)",
    "pos_base": "positive head and base (pos_base)",
}

INTERVALS = (
    ("95 % question bootstrap plus training noise", "questions, training"),
    ("95 % training noise", "training"),
)
"""How intervals of the ranked table begin, and their short names."""


@dataclass(frozen=True, slots=True)
class Chip:
    """One verdict in short."""

    hypothesis: str
    name: str
    verdict: str
    sign: str
    kind: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reader takes away in ten seconds."""

    sentence: str
    more: str
    """What the sentence says after its first semicolon."""
    facts: tuple[tuple[str, str, str], ...]
    """Name, value, remark."""
    chips: tuple[Chip, ...]
    controls: tuple[str, ...]
    warnings: tuple[str, ...]


def answer(findings: Json) -> Answer:
    """Put the findings into words."""
    jump = findings.get("jump")
    said = (jump or {}).get("sentence") or findings.get("sentence") or _sentence(findings)
    first, _, rest = scrub(str(said)).partition("; ")
    return Answer(
        sentence=f"{first}." if rest else first,
        more=rest[:1].upper() + rest[1:],
        facts=_jump_facts(jump) if jump else _flat_facts(findings),
        chips=tuple(_chip(item) for item in findings.get("verdicts") or ()),
        controls=tuple(_control(item) for item in findings.get("controls") or ()),
        warnings=tuple(scrub(str(item)) for item in findings.get("warnings") or ()),
    )


def changes_view(findings: Json) -> View:
    """Rank the changes: what, where, when, how large, how sure, before or after the jump."""
    changes = findings.get("changes") or []
    heads = (
        ("Rank", True), ("Quantity", False), ("Where", False), ("When (step)", True),
        ("When, drawn", False), ("Effect", True), ("p, adjusted", True),
        ("Steps before or after the jump", True), ("10-90 width (steps)", True),
        ("Interval of the step", False),
    )  # fmt: skip
    span = _span(findings)
    rows = tuple(_change(rank, item, span) for rank, item in enumerate(changes, start=1))
    return View(
        "changes-ranked",
        "Changes, ranked",
        "One row per quantity, in the order of the analysis. “When” is the estimated step with "
        "its interval, 95\u00a0% over what the last column names (resampled questions, noise of "
        "training); p is adjusted for the number of quantities tested. All of it is one "
        "training run: other seeds are not included.",
        heads,
        rows,
    )


def verdicts_view(findings: Json) -> View:
    """List every hypothesis with its verdict and evidence."""
    heads = (
        ("Hypothesis", False), ("What it says", False), ("Verdict", False), ("Effect", True),
        ("95 % interval", True), ("p, adjusted", True), ("Evidence", False),
    )  # fmt: skip
    rows = tuple(_verdict(item) for item in findings.get("verdicts") or ())
    return View(
        "verdicts-table",
        "Verdicts",
        "“Supported” needs its prediction to hold and its counter-test to have run. “Not "
        "separable” means that what was run cannot tell it from its rivals. “Not tested” is "
        "never a pass.",
        heads,
        rows,
    )


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


def _sentence(findings: Json) -> str:
    jump = findings.get("jump")
    if not jump:
        return "No abrupt change was found: accuracy moves smoothly, or not at all."
    mode = MODES.get(str(jump.get("mode")), str(jump.get("mode")))
    span = interval(tuple(jump["interval_examples"])) if jump.get("interval_examples") else ""
    return (
        f"Accuracy with {mode} goes from {brief(jump.get('before'))} to "
        f"{brief(jump.get('after'))} at about {number(jump.get('tau_examples'))} examples "
        f"(step {number(jump.get('tau_step'))}; 95\u00a0% interval {span} examples)."
    )


def _jump_facts(jump: Json) -> tuple[tuple[str, str, str], ...]:
    pair = jump.get("interval_examples")
    kind = {"step": "at one point", "ramp": "over a range of steps"}.get(str(jump.get("kind")), "")
    rows = (
        ("Kind", str(jump.get("kind") or "abrupt"), kind),
        (
            "When",
            f"{brief(jump.get('tau_examples'), 3)} examples",
            f"step {brief(jump.get('tau_step'), 3)}"
            + (f"; 95\u00a0% interval {interval(tuple(pair))} examples" if pair else ""),
        ),
        (
            "Accuracy",
            f"{brief(jump.get('before'))} → {brief(jump.get('after'))}",
            f"a change of {brief(jump.get('size'))}, with mode {jump.get('mode')}",
        ),
        ("Width", f"{_width(jump, brief)} steps", "how long the change takes"),
        _margin_fact(jump),
    )
    return tuple(row for row in rows if NONE not in row[1])


def _interval_name(kind: Any) -> str:
    """Shorten the kind of an interval for a narrow column; the caption says the rest."""
    text = str(kind or NONE)
    for long, short in INTERVALS:
        if text.startswith(long):
            return short
    return text


def _step_of(examples: float, jump: Json) -> str:
    """Write examples as a step too, by the jump's own ratio of the two."""
    tau, seen = jump.get("tau_step"), jump.get("tau_examples")
    return f"step {brief(examples * tau / seen, 2)}; " if tau and seen else ""


def _margin_fact(jump: Json) -> tuple[str, str, str]:
    """Say what margins that move steadily from start to end would have given."""
    share, span = jump.get("margin_share"), jump.get("margin_share_interval")
    drift = jump.get("margin_drift_examples")
    if drift is not None and jump.get("margin_drift_same_place") is False:
        return (
            "Steady margins give",
            f"{brief(drift, 3)} examples",
            f"{_step_of(drift, jump)}where accuracy would change if each question's margin drifted "
            "steadily: another place, so a smooth drift does not explain the jump",
        )
    return (
        "Largest step under steady margins",
        NONE if share is None else f"{share:.2g} times the observed",
        "what margins that move steadily from start to end would give by crossing a threshold"
        + (f"; 95\u00a0% interval {interval(tuple(span))} times" if span else ""),
    )


def _width(change: Json, write: Callable[[Any], str]) -> str:
    """Write a width; at the edge of what was tried it is a lower bound."""
    text = write(change.get("width_steps"))
    return f"≥ {text}" if change.get("width_at_limit") and text != NONE else text


def _flat_facts(findings: Json) -> tuple[tuple[str, str, str], ...]:
    accuracy = findings.get("accuracy") or {}
    rows = []
    for mode, value in accuracy.items():
        if isinstance(value, dict) and mode in MODES:
            span = value.get("last_interval")
            rows.append(
                (
                    mode,
                    f"{brief(value.get('first'))} → {brief(value.get('last'))}",
                    f"{MODES[mode]}; last, 95 % interval {interval(tuple(span))}" if span else "",
                )
            )
    return tuple(rows)


def _chip(item: Json) -> Chip:
    name = HYPOTHESES.get(str(item.get("hypothesis")), ("", ""))[0]
    verdict = str(item.get("verdict") or "not tested")
    return Chip(
        hypothesis=str(item.get("hypothesis")),
        name=name,
        verdict=verdict,
        sign=SIGNS.get(verdict, "·"),
        kind=verdict.replace(" ", "-") if verdict in SIGNS else "not-tested",
    )


def _control(item: Any) -> str:
    if isinstance(item, dict):
        said = item.get("sentence") or item.get("text")
        if said:
            name = str(item.get("control") or "")
            return scrub(f"{name[:1].upper()}{name[1:]}: {said}" if name else str(said))
        return "; ".join(
            f"{key.replace('_', ' ')}: {number(v) if isinstance(v, int | float) else v}"
            for key, v in item.items()
            if v is not None
        )
    return scrub(str(item))


def _span(findings: Json) -> tuple[float, float]:
    ends = [
        float(value)
        for item in findings.get("changes") or ()
        for value in (*(item.get("interval_steps") or ()), item.get("tau_step"))
        if value is not None
    ]
    mark = jump_mark(findings)
    ends += list(mark) if mark else []
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    return (low, high) if high > low else (low - 1, high + 1)


def _change(rank: int, item: Json, span: tuple[float, float]) -> tuple[Cell, ...]:
    tau, pair = item.get("tau_step"), item.get("interval_steps")
    lead = item.get("lead_interval")
    layer = item.get("layer")
    link = (
        "" if tau is None else f"#step={round(tau)}" + ("" if layer is None else f"&layer={layer}")
    )
    drawn = ""
    if tau is not None:
        low, high = pair or (tau, tau)
        drawn = " ".join(f"{_share(x, span):.1f}" for x in (low, tau, high))
    return (
        Cell(str(rank), rank, number=True),
        Cell(_change_name(item), _change_name(item)),
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
        Cell(_width(item, number), item.get("width_steps"), number=True),
        Cell(_interval_name(item.get("interval_kind")), str(item.get("interval_kind") or "")),
    )


def _change_name(item: Json) -> str:
    """Name a change without its place, which has a column of its own."""
    title = re.sub(r", (layer|(attention )?head) [\w.]+(?=,|$)", "", str(item.get("title") or ""))
    title = title or quantity_name(str(item.get("quantity")))
    return title[0].upper() + title[1:]


def _share(value: float | int, span: tuple[float, float]) -> float:
    return 4 + 112 * (float(value) - span[0]) / (span[1] - span[0])


def jump_share(findings: Json) -> float | int | None:
    """Place the jump on the small time line of the ranked table."""
    mark = jump_mark(findings)
    return _share(mark[0], _span(findings)) if mark else None


def _verdict(item: Json) -> tuple[Cell, ...]:
    name, says = HYPOTHESES.get(str(item.get("hypothesis")), ("", str(item.get("claim") or "")))
    chip = _chip(item)
    pair = item.get("interval")
    text = f"{chip.hypothesis} {name}".strip()
    return (
        Cell(text, text),
        Cell(says, says),
        Cell(f"{chip.sign} {chip.verdict}", chip.verdict, note=f"chip {chip.kind}"),
        Cell(number(item.get("effect")), item.get("effect"), number=True),
        Cell(interval(tuple(pair)) if pair else NONE, pair[0] if pair else None, number=True),
        Cell(p_value(item.get("p_adjusted")), item.get("p_adjusted"), number=True),
        Cell("; ".join(scrub(str(line)) for line in item.get("evidence") or ())),
    )
