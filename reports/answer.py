"""The answer at the head of a page, and the two tables made of findings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from critical_phase.reports.jump_facts import jump_facts, one_run, words
from critical_phase.reports.style import NONE, interval, number, p_value, two
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
    jump: bool = False
    """Whether an abrupt change was found that explanations can be of."""
    words: tuple[tuple[str, str, str], ...] = ()
    """Words of this block and what they mean."""

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
        facts=jump_facts(findings) if jump else _flat_facts(findings),
        jump=bool(jump),
        words=words(findings),
        chips=tuple(_chip(item) for item in findings.get("verdicts") or ()),
        controls=tuple(_control(item) for item in findings.get("controls") or ()),
        warnings=tuple(scrub(str(item)) for item in findings.get("warnings") or ()),
        note=" ".join(
            text for text in (elsewhere(findings), one_head(heads or _scored(findings))) if text
        ),
    )


def _scored(findings: Json) -> tuple[str, ...]:
    """Tell the heads from the scores, for checkpoints made elsewhere, whose run names none."""
    found = set(findings.get("accuracy") or ())
    return tuple(head for head, modes in MODES_OF.items() if found & {*modes, "likra"})


def elsewhere(findings: Json) -> str:
    """Say what sft is where the positive head is a series that was made elsewhere."""
    name = (findings.get("names") or {}).get("sft")
    if not name:
        return ""
    return f"sft is the score of {scrub(str(name))} alone, a series made elsewhere."


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
        ("Hypothesis", False), ("What it says", False), ("Verdict", False),
        ("Effect measured", False), ("Effect", True), ("95 % interval", True),
        ("Adjusted p, and of what", False), ("Evidence", False),
    )  # fmt: skip
    rows = tuple(_verdict(item) for item in findings.get("verdicts") or ())
    return View(
        "verdicts-table",
        "Verdicts",
        "“Supported” needs its prediction to hold and its counter-test to have run. “Not "
        "separable” means that what was run cannot tell it from its rivals. “Not tested” is "
        "never a pass. The p is of the abruptness of the quantity it names (how often a smooth "
        "curve looks as abrupt, adjusted for all that were tested); no verdict rests on it alone.",
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
                    f"{MODES[mode]}; last, 95 % interval {interval(tuple(span))} over questions"
                    if span
                    else "",
                )
            )
    if rows and accuracy.get("base") is not None:
        rows.append(("base", two(accuracy["base"]), "the base model without a head"))
    return (*rows, one_run(findings)) if rows else ()


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
        Cell(_measured(item)),
        Cell(number(item.get("effect")), item.get("effect"), number=True),
        Cell(interval(tuple(pair)) if pair else NONE, pair[0] if pair else None, number=True),
        Cell(_whose_p(item), item.get("p_adjusted")),
        Cell("; ".join(scrub(str(line)) for line in item.get("evidence") or ())),
    )


def _measured(item: Json) -> str:
    """Name what the effect is, with its unit."""
    name, unit = str(item.get("effect_name") or ""), str(item.get("effect_unit") or "")
    if item.get("effect") is None or not name:
        return NONE
    return f"{name} ({unit})" if unit else name


def _whose_p(item: Json) -> str:
    """Write a p with the quantity whose abruptness it tests; nothing where it has no name."""
    name = str(item.get("p_name") or "")
    if item.get("p_adjusted") is None or not name:
        return NONE
    return f"{p_value(item['p_adjusted'])}, {name}"
