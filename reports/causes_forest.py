"""Every answer on one axis: what a change does, its control beside it, and the other direction."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from critical_phase.reports.causes_shapes import Answer, Causes, Share

NAME = "interventions-answers"
"""Id of the figure, and name of its files."""
FARTHEST = (-1.0, 2.0)
"""Ends that the axis never goes beyond; what lies there is drawn at the edge and said."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One share with its interval, placed on the axis in percent."""

    kind: str
    """`own`, `control` or `other`."""
    words: str
    """What it is: brings, takes away, control."""
    share: Share
    at: float
    low: float
    high: float
    beyond: str
    """`left`, `right` or `both` where it runs off the axis, else nothing."""


@dataclass(frozen=True, slots=True)
class Row:
    """One answer with its marks."""

    answer: Answer
    setting: str
    """What was held against what, where answers differ in that."""
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Forest:
    """The figure."""

    rows: tuple[Row, ...]
    span: tuple[float, float]
    ticks: tuple[tuple[str, float], ...]
    """Label, and its place in percent."""
    ends: tuple[float, float]
    """Places of the early and the late model in percent."""
    clipped: bool

    @property
    def caption(self) -> str:
        """Say what is drawn."""
        edge = " An arrow: it goes on beyond the axis; the text has it in full." * self.clipped
        return (
            "Share of the margin's change, with 95\u00a0% question bootstrap intervals, on "
            "questions that chose nothing: 0 is the early model, 1 the late one. Filled: what the "
            "change does. Hollow: its control. Diamond: what the other direction does. A change "
            "counts where its interval lies above nothing, above its control, and above what one "
            f"more random draw of that may do (a column of the table of answers).{edge}"
        )


def forest(found: Causes) -> Forest | None:
    """Put all answers on one axis, in the order of their files; None where there is none."""
    if not found.answers:
        return None
    span = _span(share for answer in found.answers for _, _, share in _parts(answer))
    several = len(found.settings) > 1
    rows = tuple(
        Row(
            answer,
            answer.setting.text if several else "",
            tuple(_mark(*part, span) for part in _parts(answer)),
        )
        for answer in found.answers
    )
    return Forest(
        rows,
        span,
        _ticks(span),
        (percent(0.0, span), percent(1.0, span)),
        any(mark.beyond for row in rows for mark in row.marks),
    )


def forest_rows(found: Causes) -> Iterable[tuple[Any, ...]]:
    """List every number of the figure, exactly."""
    yield ("plan", "changed", "mark", "what", "share", "low", "high", "file")
    for answer in found.answers:
        for kind, words, share in _parts(answer):
            told = (answer.plan, answer.about, kind, words)
            yield (*told, share.value, share.low, share.high, answer.file)


def percent(value: float, span: tuple[float, float]) -> float:
    """Place a value on an axis, from 0 to 100; what lies beyond goes to the edge."""
    inside = min(max(value, span[0]), span[1])
    return round(100 * (inside - span[0]) / (span[1] - span[0]), 2)


def _parts(answer: Answer) -> list[tuple[str, str, Share]]:
    parts = [("own", answer.verb, answer.share)]
    if answer.control_share is not None:
        parts.append(("control", f"control {answer.verb}", answer.control_share))
    if answer.opposite is not None:
        parts.append(("other", f"other way {answer.other_verb}", answer.opposite))
    return parts


def _mark(kind: str, words: str, share: Share, span: tuple[float, float]) -> Mark:
    low = share.value if share.low is None else share.low
    high = share.value if share.high is None else share.high
    left, right = low < span[0], high > span[1]
    beyond = "both" if left and right else "left" if left else "right" if right else ""
    at, first, last = (percent(value, span) for value in (share.value, low, high))
    return Mark(kind, words, share, at, first, last, beyond)


def _span(shares: Iterable[Share]) -> tuple[float, float]:
    ends = [v for s in shares for v in (s.value, s.low, s.high) if v is not None]
    low, high = min([0.0, *ends]) - 0.05, max([1.0, *ends]) + 0.05
    return max(low, FARTHEST[0]), min(high, FARTHEST[1])


def _ticks(span: tuple[float, float]) -> tuple[tuple[str, float], ...]:
    marks = [k / 2 for k in range(-2, 5) if span[0] <= k / 2 <= span[1]]
    return tuple((f"{mark:g}".replace("-", "\u2212"), percent(mark, span)) for mark in marks)
