"""H2: does the negative head learn the surface prior of answers? Control runs decide.

Right answers of other questions share form and prior with the run's negatives and say nothing
of the question: where a head trained on them gains as much, the content of the negatives is not
needed. That alone is no prior: the changes must also follow how likely answers are without
their question, and taking that likelihood out of the base's scores (PMI_DC) must give most of
the gain. Right answers as negatives raise the right answer itself, so their failure decides
nothing; texts from elsewhere have another prior, so neither does theirs.
"""

from collections.abc import Sequence
from typing import Any

from critical_phase.analysis.judging.hypotheses import MISSING, Case, Kind, Verdict
from critical_phase.analysis.judging.thresholds import EXPLAINS, FAILS, FOLLOWS, LATER, REACHES
from critical_phase.analysis.scores.control_reach import BASE, PMI, POSITIVE, Compared, ControlReach
from critical_phase.analysis.scores.control_run import PRIOR
from critical_phase.analysis.scores.control_runs import in_words
from critical_phase.analysis.scores.reached import Reached

ONE = (
    "one training of each: intervals are over questions, and another seed may move a share by more;"
    " nothing was chosen here, so all questions count"
)
"""What the intervals of control runs leave out."""

RIGHT = (
    "right answers as negatives raise the right answer itself, which is then subtracted: that they"
    " do not reach the gain says nothing of the prior"
)
"""What a run with right answers as negatives does not show."""

CORRELATION = "score changes against the likelihood of the answer alone, within questions"
UNIT = "correlation"

CONTEXTS = "probe collect RUN --contexts answer_only,domain"


def prior(case: Case) -> Verdict:
    """Settle H2 from control runs; without one, show how far changes follow the prior."""
    said, followed = _follows(case)
    found = reaches_of(case, PRIOR)
    usable = [one for one in found if one.last is not None]
    texts = tuple(map(in_words, found))
    if not usable:
        need = f"needs another run: {MISSING['H2']}"
        value, band = (None, None) if followed is None else followed
        lines = (*texts, *([] if followed is None else [said]), need)
        name = CORRELATION if followed is not None else ""
        return Verdict("H2", "not tested", value, band, None, lines, name, UNIT if name else "")
    main = _of(usable, "irrelevant")
    kind, why = _kind(case, usable, followed)
    chosen = _shown(main or usable, kind)
    clean = tuple(map(_surface, main))
    failed = any(not has_jump(one) for one in _of(usable, "right_answers"))
    lines = (*texts, *clean, said, *_own(case), *([RIGHT] if failed else []), why, ONE)
    name = "share of the gain that the control runs reach at the end"
    return Verdict("H2", kind, chosen.share, chosen.interval, None, lines, name, "share")


def reaches_of(case: Case, kinds: Sequence[str]) -> list[ControlReach]:
    """Return the controls of some kinds, compared with the run."""
    result = case.results.get("control_runs")
    found: Sequence[ControlReach] = (result.facts if result else {}).get("reaches", ())
    return [one for one in found if one.control.kind in kinds]


def has_jump(one: ControlReach) -> bool:
    """Say whether a control ends with most of the gain, and gets it abruptly or as early."""
    if one.after is None or one.last is None:
        return False
    early = one.jump is not None or one.after.plain.above(REACHES)
    return one.last.plain.above(REACHES) and early


def lacks_jump(one: ControlReach, *, clean: bool) -> bool:
    """Say whether a control has next to nothing of the gain, right after the jump and later.

    It is only said of a control that was followed long enough beyond the jump to come later.
    """
    if one.after is None or one.last is None or one.last.time < LATER * one.after.time:
        return False
    ends = (one.after, one.last)
    parts = [at.plain for at in ends] + ([at.clean for at in ends] if clean else [])
    return all(part.below(FAILS) for part in parts)


def left_open(found: Sequence[ControlReach]) -> str:
    """Say why controls neither have the gain nor lack it."""
    ends = [(one.after, one.last) for one in found if one.after and one.last]
    if all(last.plain.above(REACHES) for _, last in ends):
        return "reach the gain at the end, but later than the run and not all of them abruptly"
    if all(after.plain.below(FAILS) and last.plain.below(FAILS) for after, last in ends):
        if any(last.time < LATER * after.time for after, last in ends):
            return (
                f"have next to nothing of the gain, but are not followed to {LATER:g} times the"
                " end of the jump, so that they may only be later: train longer"
            )
        return "have next to nothing of the gain, but not with the surface taken out of both"
    return "neither clearly have the gain nor clearly lack it"


def _kind(
    case: Case,
    usable: Sequence[ControlReach],
    followed: tuple[float, tuple[float, float]] | None,
) -> tuple[Kind, str]:
    """Weigh the controls; say why."""
    main, right = _of(usable, "irrelevant"), _of(usable, "right_answers")
    if main and all(lacks_jump(one, clean=True) for one in main):
        if any(map(has_jump, right)):
            return "not separable", (
                "the controls disagree: right answers as negatives have the gain, right answers of"
                " other questions lack it"
            )
        return "excluded", (
            "right answers of other questions as negatives bring next to nothing of the gain, also"
            " with the surface of the answers taken out"
        )
    if main and not all(map(has_jump, main)):
        return "not separable", f"the controls {left_open(main)}"
    if not main and not (right and all(map(has_jump, right))):
        return "not separable", (
            "right answers, and texts from elsewhere, decide nothing by not reaching the gain:"
            f" {MISSING['H2']}"
        )
    said = "negatives need not come from their own question"
    if not main:
        said = "negatives need not be wrong"
    if lost := _lost(case, usable, followed):
        rivals = (
            "rivals: whatever else these negatives share with near misses, such as their style (H3)"
        )
        return "not separable", f"{said}, but {'; '.join(lost)}; {rivals}"
    return "supported", f"{said}, and the changes follow the prior of answers"


def _lost(
    case: Case,
    usable: Sequence[ControlReach],
    followed: tuple[float, tuple[float, float]] | None,
) -> list[str]:
    """Name what speaks against the prior, or was not measured, where controls have the gain."""
    own = _references(case)
    lost = []
    if any(map(has_jump, _of(usable, "unrelated"))):
        lost.append("texts from elsewhere reach it too, which do not have the prior of answers")
    for name in (BASE, POSITIVE):
        if name in own and not own[name][1].below(REACHES):
            lost.append(f"the {name} may reach it too: the negative head may not be what brings it")
    if followed is None or PMI not in own:
        lost.append(f"whether changes follow the prior was not measured ({CONTEXTS})")
    if followed is not None and not followed[1][0] > FOLLOWS:
        lost.append("the changes do not clearly follow the likelihood of answers alone")
    if PMI in own and not own[PMI][1].above(EXPLAINS):
        lost.append("PMI_DC of the base does not give most of the gain")
    return lost


def _of(found: Sequence[ControlReach], kind: str) -> list[ControlReach]:
    """Keep the controls of one kind."""
    return [one for one in found if one.control.kind == kind]


def _shown(found: Sequence[ControlReach], kind: Kind) -> Reached:
    """Return the share that is furthest from the verdict's side, so that none is weaker."""
    ends = [one.last.plain for one in found if one.last is not None]
    known = [one for one in ends if one.share is not None] or ends
    chosen = max if kind == "excluded" else min
    return chosen(known, key=lambda one: one.share or 0.0)


def _surface(one: ControlReach) -> str:
    """Say what is left of the share when surface features are taken out."""
    ends = [one.after, one.last] if one.after != one.last else [one.last]
    parts = [_part(at) for at in ends if at is not None]
    return (
        f"with length and, where scored, likelihood of the answer alone taken out of both,"
        f" {one.control.name} reaches {' and '.join(parts)}"
    )


def _part(at: Compared) -> str:
    """Write one share without the surface."""
    if at.clean.share is None or at.clean.interval is None:
        return f"a share that cannot be told (no clear gain of the run is left) at step {at.step}"
    low, high = at.clean.interval
    return f"{at.clean.share:.2f} [{low:.2f}, {high:.2f}] of what is left at step {at.step}"


def _own(case: Case) -> list[str]:
    """Say what PMI_DC gives of the gain, where it was scored."""
    own = _references(case)
    last = own[PMI][1] if PMI in own else None
    if last is None or last.interval is None:
        return []
    low, high = last.interval
    return [f"PMI_DC of the base gives {last.share:.2f} [{low:.2f}, {high:.2f}] of the gain"]


def _references(case: Case) -> dict[str, tuple[Reached, Reached]]:
    """Return what the run itself holds, by name: right after the jump and at the end."""
    result = case.results.get("control_runs")
    found: dict[str, tuple[Reached, Reached]] = (result.facts if result else {}).get(
        "references", {}
    )
    return found


def _follows(case: Case) -> tuple[str, tuple[float, tuple[float, float]] | None]:
    """Say how far score changes follow the likelihood of the answer without its question."""
    result = case.results.get("baselines")
    facts: dict[str, Any] = (result.facts if result else {}).get("baselines", {})
    found = facts.get("prior_correlation", {}).get(case.head)
    if found is None:
        return f"whether score changes follow the prior is not known: {CONTEXTS}", None
    low, high = found["interval"]
    text = (
        "score changes correlate with the likelihood of the answer without its question by"
        f" {found['value']:.2f} [{low:.2f}, {high:.2f}] at step {found['step']}"
    )
    return text, (found["value"], (low, high))
