"""The least that must be shown before the word "cause" is used: seven points, all of them.

Reference: docs/methods.md, causal tests. A point that was not looked at is not met.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from critical_phase.analysis.interventions.intervention_effect import Effect, Number
from critical_phase.analysis.judging.thresholds import CARRIES, EQUAL

SEEDS = 5
"""Least number of training runs with seeds of their own."""
TRY = "not tried: train again with the component frozen or projected out"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found for one place; None where nobody looked."""

    own: Effect
    """What the cell does, on questions that chose nothing."""
    lost: bool
    """Whether the cell takes something out of the late model, so that its size is what goes."""
    opposite: Effect | None
    """The other direction."""
    control: Effect
    """Random updates or vectors of the same norm, in the cell's own direction; of two draws or
    more, with what one more of them does."""
    elsewhere: tuple[Effect, ...] = ()
    """The same in other layers, in the cell's own direction."""
    drift: float | None = None
    """KL to the early model on neutral text, nats per token."""
    drift_late: float | None = None
    """The late model's."""
    second: tuple[float, float] | None = None
    """Interval of the change of accuracy on another task."""
    monotone: bool | None = None
    """Whether a larger dose brings more; None with fewer than three doses."""
    held_out: bool = True
    """Whether other questions chose the place."""
    seeds: int = 1
    """Training runs in which it was found."""
    datasets: int = 1
    """Models or sets of questions in which it was found."""
    leads: tuple[float, float] | None = None
    """Interval of the steps from the jump to the component's change (negative: before it)."""
    leads_of: str = ""
    """Which quantity of the component that is."""
    training: bool | None = None
    """Whether the jump moves or vanishes when the component is held still in training."""
    peers: Effect | None = None
    """The same at as many places, drawn at random: with what one more such set does."""
    sized: bool = False
    """Whether what acts is a set of places, which says something only beside others of its size."""
    second_why: str = ""
    """Why another task that was tried says nothing."""


@dataclass(frozen=True, slots=True)
class Point:
    """One of the seven."""

    number: int
    asks: str
    met: bool | None
    """None: nobody looked."""
    found: str


def minimum(evidence: Evidence) -> tuple[Point, ...]:
    """Hold evidence against the seven points."""
    return (
        _both_ways(evidence),
        _specific(evidence),
        _dosed(evidence.monotone),
        _repeated(evidence),
        precedes(evidence.leads, evidence.leads_of),
        trained(evidence.training),
        _threshold(evidence),
    )


def trained(moves: bool | None, found: str = "") -> Point:
    """Return point 6, by whether the jump moves or vanishes; None where that is open.

    Args:
        moves: What tests in training say.
        found: The same in words, where there is more to say.
    """
    words = found or {None: TRY, True: "it does", False: "it does not"}[moves]
    return Point(6, "held still in training, the jump moves or vanishes", moves, words)


def precedes(leads: tuple[float, float] | None, of: str = "", why: str = "") -> Point:
    """Return point 5, by the steps from the jump to the component's change.

    Args:
        leads: Interval of these steps, negative where the component is first; None where no
            change of it was placed.
        of: Which quantity of the component that is.
        why: Why there is none.
    """
    asks = "the component changes no later than the jump"
    if leads is None:
        return Point(5, asks, None, why or "no abrupt change of the component was placed")
    return Point(5, asks, leads[1] <= 0, f"{of or 'it'} changes {_when(*leads)}")


def _when(low: float, high: float) -> str:
    """Say where a change lies beside the jump, in steps, as how long before or after it."""
    if high <= 0:
        return f"{-high + 0.0:.1f} to {-low:.1f} steps before the jump"
    if low >= 0:
        return f"{low + 0.0:.1f} to {high:.1f} steps after the jump"
    return f"between {-low:.1f} steps before and {high:.1f} after the jump"


def may_say_cause(points: Sequence[Point]) -> bool:
    """Say whether all seven are met."""
    return len(points) == 7 and all(one.met is True for one in points)


def sentence(about: str, points: Sequence[Point], found: Effect, *, lost: bool = False) -> str:
    """Say what was found, and either that it causes the jump or what is missing for that word."""
    return said(about, points, _size(found, lost=lost), lost=lost)


def said(about: str, points: Sequence[Point], size: Number, *, lost: bool = False) -> str:
    """Say the same of a share that comes, or goes."""
    (low, high), verb = size.interval, "takes away" if lost else "brings"
    text = f"{about} {verb} {size.value:.2f} [{low:.2f}, {high:.2f}] of the margin's change"
    if may_say_cause(points):
        return f"{text}: it causes the change, by all seven points asked for"
    missing = "; ".join(
        f"({point.number}) {point.found}" for point in points if point.met is not True
    )
    return f"{text}; the word cause is not used, as these are missing: {missing}"


def _size(one: Effect, *, lost: bool) -> Number:
    """Return the part of the margin's change that comes, or goes."""
    return one.lost if lost else one.share


def _least(evidence: Evidence) -> float:
    return _size(evidence.own, lost=evidence.lost).interval[0]


def _both_ways(evidence: Evidence) -> Point:
    asks = "both directions, each with an interval above nothing"
    if evidence.opposite is None:
        return Point(1, asks, None, "only one direction was tried")
    sizes = (
        _size(evidence.own, lost=evidence.lost),
        _size(evidence.opposite, lost=not evidence.lost),
    )
    (low, high), (least, most) = (one.interval for one in (sizes[::-1] if evidence.lost else sizes))
    met = low > 0 and least > 0
    return Point(
        1, asks, met, f"brings [{low:.2f}, {high:.2f}], takes away [{least:.2f}, {most:.2f}]"
    )


def _specific(evidence: Evidence) -> Point:
    asks = "specific: random of the same norm, other layers and sets, another task, neutral text"
    low, gaps, faults = _least(evidence), [], []
    mean, random = _size(evidence.control, lost=evidence.lost).interval[1], _random(evidence)
    if not low > mean:
        faults.append(f"the control does up to {mean:.2f}")
    elif random is None:
        gaps.append("one draw of the control says nothing of others")
    elif not low > random:
        faults.append(f"one more draw of the control may do up to {random:.2f}")
    if not evidence.elsewhere:
        gaps.append("other layers not tried")
    else:
        most = max(_size(one, lost=evidence.lost).interval[1] for one in evidence.elsewhere)
        faults += [] if low > most else [f"other layers do up to {most:.2f}"]
    if evidence.sized:
        size = None if evidence.peers is None else _another(evidence.peers, lost=evidence.lost)
        if size is None:
            gaps.append("no other sets of as many places to hold it beside")
        elif not low > size:
            faults.append(f"one more set of as many places may do up to {size:.2f}")
    if evidence.second is None:
        gaps.append(evidence.second_why or "another task not measured")
    elif evidence.second[1] < 0:
        faults.append(f"another task loses up to {-evidence.second[0]:.2f}")
    elif evidence.second[0] < -EQUAL:
        gaps.append(f"another task may lose up to {-evidence.second[0]:.2f}: too few questions")
    if evidence.drift is None or evidence.drift_late is None:
        gaps.append("neutral text not measured")
    elif evidence.drift > evidence.drift_late:
        faults.append(
            f"neutral text drifts by {evidence.drift:.2g} nats per token, more than the late"
            f" model's {evidence.drift_late:.2g}"
        )
    if faults:
        return Point(2, asks, False, "; ".join(faults + gaps))
    return Point(2, asks, None if gaps else True, "; ".join(gaps) or "it is")


def _repeated(evidence: Evidence) -> Point:
    asks = f"held-out questions, at least {SEEDS} seeds, a second model or dataset"
    faults = [] if evidence.held_out else ["the questions that chose also judged"]
    gaps = [] if evidence.seeds >= SEEDS else [f"{evidence.seeds} of {SEEDS} seeds"]
    gaps += [] if evidence.datasets >= 2 else ["one model and dataset"]
    if faults:
        return Point(4, asks, False, "; ".join(faults + gaps))
    return Point(4, asks, None if gaps else True, "; ".join(gaps) or "it is")


def _random(evidence: Evidence) -> float | None:
    """Return the most that one more draw of the control does; None where too few were drawn."""
    return _another(evidence.control, lost=evidence.lost)


def _another(draws: Effect, *, lost: bool) -> float | None:
    found = draws.another_lost if lost else draws.another
    return None if found is None else found[1]


def _dosed(monotone: bool | None) -> Point:
    found = {None: "fewer than three doses were tried", True: "it does"}
    return Point(3, "a larger dose brings more", monotone,
                 found.get(monotone, "it does not at every dose"))  # fmt: skip


def _threshold(evidence: Evidence) -> Point:
    asks = f"more than {CARRIES:g} of the change, a threshold fixed in advance"
    low = _least(evidence)
    return Point(7, asks, low > CARRIES, f"lower end {low:.2f}, {CARRIES:g} is asked")
