"""H3: does the negative head detect the style of wrong answers? Scores without questions say."""

from collections.abc import Mapping
from typing import Any

from critical_phase.analysis.judging.hypotheses import MISSING, Case, Kind, Verdict
from critical_phase.analysis.judging.thresholds import EQUAL

NAME, UNIT = "accuracy with the answer alone", "share of questions"


def style(case: Case) -> Verdict:
    """H3: is the jump there when the heads do not see the question?

    Excluded where they are at chance without it. Supported where they are as good without it,
    and a bag of words learned on other questions is too.
    """
    facts = _baselines(case)
    found = facts.get("answer_only", {}).get(case.primary)
    if found is None:
        need = f"needs other scores or another run: {MISSING['H3']}"
        return Verdict("H3", "not tested", None, None, None, (need,))
    (low, high), (least, most) = found["interval"], found["difference_interval"]
    text = (
        f"with the answer alone accuracy is {found['accuracy']:.2f} [{low:.2f}, {high:.2f}] where"
        f" it is {found['with_question']:.2f} with the question (chance {facts['chance']:.2f})"
    )
    words = facts["rules"].get("bag of words")
    matched = words is not None and words["interval"][0] >= found["with_question"] - EQUAL
    kind: Kind = "not separable"
    if case.jump is not None and found["step"] <= case.jump.interval[1]:
        need = f"score the answers without their questions after step {case.jump.interval[1]:.0f}"
        return Verdict(
            "H3", "not tested", found["accuracy"], (low, high), None, (text, need), NAME, UNIT
        )
    if high <= facts["chance"] + EQUAL:
        kind = "excluded"
    elif least >= -EQUAL and most <= EQUAL and matched:
        kind = "supported"
    more = () if kind != "not separable" else (_lacking(found, facts),)
    return Verdict("H3", kind, found["accuracy"], (low, high), None, (text, *more), NAME, UNIT)


def _lacking(found: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Say which limit of exclusion, and which of support, is missed and what would help."""
    (_, high), (least, most) = found["interval"], found["difference_interval"]
    limit = facts["chance"] + EQUAL
    missed = f"to be excluded the upper end must be at most {limit:.3f} (chance + {EQUAL:g}), it is"
    missed += f" {high:.3f}"
    if found["accuracy"] <= limit:
        missed += ": more questions would narrow it"
    gap = "without the question accuracy must be the same within"
    lost = f"to be supported, {gap} {EQUAL:g}; it is lower by [{least:.2f}, {most:.2f}]"
    if least >= -EQUAL and most <= EQUAL:
        words = facts["rules"].get("bag of words")
        low = None if words is None else words["interval"][0]
        lost = "to be supported, a bag of words learned on other questions must be as good; " + (
            "none could be learned" if low is None else f"its lower end is {low:.3f}"
        )
    return f"{missed}; {lost}"


def _baselines(case: Case) -> Mapping[str, Any]:
    result = case.results.get("baselines")
    found: Mapping[str, Any] = (result.facts if result else {}).get("baselines", {})
    return found
