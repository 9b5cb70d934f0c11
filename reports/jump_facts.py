"""The jump in the answer block: place, levels, shape, and what speaks against it."""

from collections.abc import Mapping
from typing import Any

from critical_phase.reports.ranked import width_text
from critical_phase.reports.style import NONE, brief, interval, number, two

Json = dict[str, Any]
Fact = tuple[str, str, str]
"""Name, value, remark."""

WORDS = {
    "likra": "log-likelihood of an answer under the positive head minus that under the negative"
    " head; the highest score is the choice",
    "10-90 width": "the steps in which a change goes from 10 to 90\u00a0% of its height",
    "not separable": "what was run cannot tell this explanation from its rivals",
}
"""Words of the answer block that a reader may not know."""

KINDS = {
    "step": "10-90 width; a jump is called a step if that is at most a tenth of the collected"
    " steps or two checkpoint intervals, and a ramp above that",
    "ramp": "10-90 width; a jump is called a ramp if that is more than a tenth of the collected"
    " steps (and than two checkpoint intervals), and a step below that",
}

SEEDS = "of the five documented seeds of the demo, one shows no abrupt change"
"""Said on pages of the demo; docs/organism.md has the table."""


def words(findings: Json) -> tuple[Fact, ...]:
    """List the words that this block uses, with what they mean."""
    jump = findings.get("jump") or {}
    used = {
        "likra": "likra" in (findings.get("accuracy") or {}) or jump.get("mode") == "likra",
        "10-90 width": bool(jump),
        "not separable": any(
            one.get("verdict") == "not separable" for one in findings.get("verdicts") or ()
        ),
    }
    return tuple((word, WORDS[word], "") for word, here in used.items() if here)


def jump_facts(findings: Json) -> tuple[Fact, ...]:
    """Describe the jump, its intervals, what they leave out, and where it is not found."""
    jump = findings.get("jump") or {}
    rows = (
        _when(jump),
        _levels(jump),
        _shape(jump),
        one_run(findings),
        _only(jump),
        _posterior(jump),
        _beside(findings),
        margin_fact(jump),
    )
    return tuple(row for row in rows if row[1] and NONE not in row[1])


def _when(jump: Json) -> Fact:
    pair = jump.get("interval_examples")
    remark = f"step {brief(jump.get('tau_step'), 3)}"
    if pair:
        kind = str(jump.get("interval_kind") or "")
        over = " over questions and training noise, one training run" if "training" in kind else ""
        remark += f"; 95\u00a0% interval {interval(tuple(pair))} examples{over}"
    return ("When", f"{brief(jump.get('tau_examples'), 3)} examples", remark)


def _levels(jump: Json) -> Fact:
    """Give the fitted levels, the size with its interval, and what was observed."""
    span = jump.get("size_interval")
    remark = f"fitted levels, mode {jump.get('mode')}; a change of {two(jump.get('size'))}"
    remark += f" {_twos(span)}" if span else ""
    seen = (
        (jump.get("first"), "at the first scored checkpoint"),
        (jump.get("last"), "at the last"),
        (jump.get("base"), "for the base model alone"),
    )
    observed = [f"{two(value)} {where}" for value, where in seen if value is not None]
    remark += f". Observed: {', '.join(observed)}" if observed else ""
    return ("Accuracy", f"{two(jump.get('before'))} → {two(jump.get('after'))}", remark)


def _twos(pair: Any) -> str:
    return f"[{two(pair[0])}, {two(pair[1])}]"


def _shape(jump: Json) -> Fact:
    """Give kind and width together: a jump is a step or a ramp by its width alone."""
    kind = str(jump.get("kind") or "")
    value = f"{width_text(jump, brief)} steps"
    return ("Shape of the jump", f"{kind}, {value}" if kind else value, KINDS.get(kind, ""))


def one_run(findings: Json) -> Fact:
    """Say that there is one training, and what other seeds showed where that is documented."""
    made = (findings.get("provenance") or {}).get("made") or {}
    remark = "other seeds are in no interval here; probe seeds compares them"
    if made.get("kind") == "demo":
        remark += f"; {SEEDS}"
    return ("Training runs", "1", remark)


def _only(jump: Json) -> Fact:
    """Name modes and clocks in which the same rise is not abrupt."""
    said = str(jump.get("only") or "")
    return ("Found in", f"{jump.get('mode')}, over steps" if said else "", f"but {said}")


def _posterior(jump: Json) -> Fact:
    """Say where the exact posterior would put one step, if that is elsewhere."""
    pair = jump.get("posterior_steps")
    if not pair or jump.get("posterior_agrees") is not False:
        return ("", "", "")
    return (
        "Second opinion",
        _both_units(pair, jump),
        "where the exact posterior puts a single step between two levels: outside the interval"
        " above, so accuracy also moves before or after its fastest part, or is no single step",
    )


def _both_units(pair: Any, jump: Json) -> str:
    """Write two steps in examples too, so that they can be held against the interval above."""
    steps = f"steps {number(pair[0])} to {number(pair[1])}"
    tau, seen = jump.get("tau_step"), jump.get("tau_examples")
    if not tau or not seen:
        return steps
    low, high = (brief(end * seen / tau, 3) for end in pair)
    return f"examples {low} to {high} ({steps})"


def _beside(findings: Json) -> Fact:
    """Count what changes abruptly before, with and after the jump, and what cannot be told."""
    name, jump = "Other abrupt changes", findings.get("jump") or {}
    orders = [str(change.get("order") or "") for change in findings.get("changes") or ()]
    known = [f"{orders.count(word)} {word} it" for word in ("before", "with", "after")]
    lost, near = orders.count("unresolved"), jump.get("near_steps")
    if not any(orders) or near is None:
        return (name, "", "")
    text = ", ".join(said for said in known if not said.startswith("0 "))
    lost_text = f"order not resolved for {lost}" if lost else ""
    return (
        name,
        "; ".join(part for part in (text, lost_text) if part),
        f"with it: the whole interval of the lead within {brief(near, 2)} steps of the jump (half"
        " its width or three checkpoint intervals, the more); not resolved: neither that nor"
        " beyond zero",
    )


def _step_of(examples: float, jump: Mapping[str, Any]) -> str:
    """Write examples as a step too, by the jump's own ratio of the two."""
    tau, seen = jump.get("tau_step"), jump.get("tau_examples")
    return f"step {brief(examples * tau / seen, 2)}; " if tau and seen else ""


def margin_fact(jump: Json) -> Fact:
    """Say what margins that move steadily from start to end would have given."""
    share, span = jump.get("margin_share"), jump.get("margin_share_interval")
    drift = jump.get("margin_drift_examples")
    if drift is not None and jump.get("margin_drift_same_place") is not True:
        known = jump.get("margin_drift_same_place") is False
        return (
            "Steady margins give",
            f"{brief(drift, 3)} examples",
            f"{_step_of(drift, jump)}where accuracy would change if each question's margin drifted "
            "steadily: "
            + (
                "another place, so it is not explained by that; margins that bend might (H0a)"
                if known
                else "neither clearly this place nor clearly another, so this is open"
            ),
        )
    return (
        "Largest step under steady margins",
        NONE if share is None else f"{share:.2g} times the observed",
        "what margins that move steadily from start to end would give by crossing a threshold"
        + (f"; 95\u00a0% interval {interval(tuple(span))} times" if span else ""),
    )
