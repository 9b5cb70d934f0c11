"""H8: did training become unstable at the jump? A run at a lower learning rate decides.

An instability of the optimizer needs a learning rate above what the curvature allows. A run at
a third of the rate or less that has the jump at the same summed rate did without it.
Reference: 2003.02218 (catapult above 2/curvature); 2506.11613.
"""

from collections.abc import Mapping, Sequence

from critical_phase.analysis.judging.hypotheses import MISSING, Case, Kind, Verdict
from critical_phase.analysis.judging.prior_verdict import (
    ONE,
    has_jump,
    lacks_jump,
    left_open,
    reaches_of,
)
from critical_phase.analysis.jumps.resolution import near, within
from critical_phase.analysis.jumps.series_change import SeriesChange
from critical_phase.analysis.scores.control_reach import ControlReach
from critical_phase.analysis.scores.control_runs import in_words
from critical_phase.analysis.updates.instability import SIGNALS, Instability


def unstable(case: Case) -> Verdict:
    """Settle H8 from slower runs; without one, list the signs of an unstable training."""
    texts = _listed(case)
    need = f"needs another run: {MISSING['H8']}"
    found = reaches_of(case, ("slow",))
    said = tuple(map(in_words, found))
    usable = [one for one in found if one.last is not None]
    if not usable:
        return Verdict("H8", "not tested", None, None, None, (*texts, *said, need))
    on_jump = _on_jump(case)
    kind: Kind = "not separable"
    why = f"at an equal summed learning rate slower runs {left_open(usable)}"
    if all(map(has_jump, usable)):
        kind, why = "excluded", _without(usable)
    elif all(lacks_jump(one, clean=False) for one in usable):
        why = "the slower run lacks the jump, but no sign of instability lies on it"
        if on_jump:
            kind = "supported"
            why = f"the slower run lacks the jump, and on it lie: {', '.join(on_jump)}"
    ends = [one.last.plain for one in usable if one.last is not None]
    chosen = (max if kind == "supported" else min)(ends, key=lambda end: end.share or 0.0)
    lines = (*texts, *said, why, ONE)
    name = "share of the gain that slower runs reach at an equal summed learning rate"
    return Verdict("H8", kind, chosen.share, chosen.interval, None, lines, name, "share")


def _without(usable: Sequence[ControlReach]) -> str:
    """Say that the gain came at a lower rate, and whether abruptly."""
    if all(one.jump is not None for one in usable):
        return "the slower run has the jump by an equal summed learning rate"
    return (
        "the slower run has the gain by an equal summed learning rate, as early as the run, though"
        " no abrupt rise of its own is found"
    )


def _signs(case: Case) -> dict[str, Instability]:
    """Return the signs of every head."""
    result = case.results.get("instability")
    found: dict[str, Instability] = (result.facts if result else {}).get("instability", {})
    return found


def _listed(case: Case) -> tuple[str, ...]:
    """List the signs that are there, each with its step and whether that is on the jump."""
    signs = {head: one for head, one in _signs(case).items() if head in case.parts}
    if not signs:
        return ()
    said = [f"{name} at step {step} ({_where(step, case.jump)})" for name, step in _placed(signs)]
    said += [
        f"attention entropy of the {head} head, {one.collapse[0]} (no step of its own)"
        for head, one in signs.items()
        if one.collapsed and one.collapse is not None
    ]
    if not said:
        return ("no sign of instability in the log, the path or attention",)
    return (f"signs of instability: {'; '.join(said)}",)


def _placed(signs: Mapping[str, Instability]) -> list[tuple[str, int]]:
    """Name the signs that have a step, with their head, and that step."""
    found = []
    for head, one in signs.items():
        found += [
            (f"{SIGNALS[name]} of the {head} head", spike.step)
            for name, spike in one.spikes.items()
            if spike.found
        ]
        if one.turn is not None and one.turn[1].found:
            found.append((f"turn of the {head} head's path", one.turn[0]))
    return found


def _on_jump(case: Case) -> list[str]:
    """Name the signs, with their head, that lie on the jump.

    Attention that collapsed has no step, so it is no such sign.
    """
    signs = {head: one for head, one in _signs(case).items() if head in case.parts}
    return [f"{name} at step {step}" for name, step in _placed(signs) if _on(step, case.jump)]


def _where(step: int, jump: SeriesChange | None) -> str:
    """Say whether a step is on the jump, and where that is."""
    if jump is None:
        return "no jump"
    low, high = jump.interval
    said = "on the jump" if _on(step, jump) else "not on the jump"
    if not _on(step, jump) and low - 1 <= step <= high + 1:
        said = "on the jump or not: the place of the jump is not known well enough"
    return f"{said}, {jump.tau:.3g} [{low:.3g}, {high:.3g}]"


def _on(step: int, jump: SeriesChange | None) -> bool:
    """Say whether a step is on the jump wherever in its interval that lies.

    Half the jump's 10-90 width away is on it, or three gaps between checkpoints if that is more;
    lying within an interval that is wider shows nothing.
    """
    if jump is None:
        return False
    away = (step - jump.interval[1], step - jump.interval[0])
    return within(away, near(jump.resolution, jump.width))
