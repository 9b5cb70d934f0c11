"""The answer at the head of a page, and the two tables made of findings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from critical_phase.reports.ranked import width_text
from critical_phase.reports.style import NONE, brief, interval, number, p_value, two
from critical_phase.reports.tables import (
    HYPOTHESES,
    SIGNS,
    Cell,
    View,
)
from critical_phase.reports.text import scrub

Json = dict[str, Any]

MODES = {
    "likra": "both heads (likra)",
    "sft": "the positive head alone (sft)",
    "base_likra": "base and negative head (base_likra)",
    "pos_base": "positive head and base (pos_base)",
}

MODES_OF = {"positive": ("sft", "pos_base"), "negative": ("base_likra",)}
"""Scores that one head alone gives."""


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
    note: str
    """What a reader must know before the rest: heads that the run lacks."""

    @property
    def untested(self) -> bool:
        """Whether no explanation could be tested, so that the verdicts start folded."""
        return bool(self.chips) and all(chip.verdict == "not tested" for chip in self.chips)


def answer(findings: Json, heads: Sequence[str] = ()) -> Answer:
    """Put the findings into words.

    Args:
        findings: Contents of `analysis/findings.json`.
        heads: Heads of the run, to say what one alone leaves out.
    """
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
        note=one_head(heads or _scored(findings)),
    )


def _scored(findings: Json) -> tuple[str, ...]:
    """Tell the heads from the scores, for checkpoints made elsewhere, whose run names none."""
    found = set(findings.get("accuracy") or ())
    return tuple(head for head, modes in MODES_OF.items() if found & {*modes, "likra"})


def one_head(heads: Sequence[str]) -> str:
    """Say which scores a run of one head has, and which need the other."""
    if len(heads) != 1 or heads[0] not in MODES_OF:
        return ""
    have = MODES_OF[heads[0]]
    lost = " and ".join(mode for mode in MODES if mode not in have)
    other = "negative" if heads[0] == "positive" else "positive"
    return (
        f"One head only ({heads[0]}): this page reads {' and '.join(have)}; {lost} need the "
        f"{other} head."
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


def _sentence(findings: Json) -> str:
    jump = findings.get("jump")
    if not jump:
        return "No abrupt change was found: accuracy moves smoothly, or not at all."
    mode = MODES.get(str(jump.get("mode")), str(jump.get("mode")))
    span = interval(tuple(jump["interval_examples"])) if jump.get("interval_examples") else ""
    return (
        f"Accuracy with {mode} goes from {two(jump.get('before'))} to "
        f"{two(jump.get('after'))} at about {number(jump.get('tau_examples'))} examples "
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
            f"{two(jump.get('before'))} → {two(jump.get('after'))}",
            f"a change of {two(jump.get('size'))}, with mode {jump.get('mode')}",
        ),
        ("Width", f"{width_text(jump, brief)} steps", "how long the change takes"),
        _margin_fact(jump),
    )
    return tuple(row for row in rows if NONE not in row[1])


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


def _flat_facts(findings: Json) -> tuple[tuple[str, str, str], ...]:
    accuracy = findings.get("accuracy") or {}
    rows = []
    for mode, value in accuracy.items():
        if isinstance(value, dict) and mode in MODES:
            span = value.get("last_interval")
            rows.append(
                (
                    mode,
                    f"{two(value.get('first'))} → {two(value.get('last'))}",
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
