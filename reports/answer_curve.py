"""The accuracy behind the answer, as one small picture at the head of a page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from critical_phase.reports.elements import Curve, Measure, Numbers
from critical_phase.reports.style import number, slug, two

Json = dict[str, Any]

WIDE, TALL = 640, 190
LEFT, RIGHT, TOP, BOTTOM = 34, 626, 10, 166
"""Edges of the plot within the picture."""
PREFERRED = ("likra", "base_likra", "sft", "pos_base")
"""Modes to show where findings name no jump, the first that the run has."""


@dataclass(frozen=True, slots=True)
class AnswerCurve:
    """One curve, ready to be drawn; all places in units of the picture."""

    label: str
    """What a reader who cannot see it is told."""
    caption: str
    href: str
    """The chart with all modes further down."""
    line: str
    band: str
    """Outline of the interval of every step; empty without one."""
    zone: tuple[float, float, float] | None
    """Place of the jump and the ends of its interval."""
    levels: tuple[tuple[str, float, float], ...]
    """Horizontal reference lines: name, height, and height of the name."""
    ticks: tuple[tuple[str, float], ...]
    heights: tuple[tuple[str, float], ...]


def answer_curve(
    findings: Json, curves: Measure | None, jump: tuple[float, float, float] | None
) -> AnswerCurve | None:
    """Draw the accuracy that the answer speaks of.

    Args:
        findings: The findings.
        curves: The measure `curves`.
        jump: Step of the jump and its interval, None without one.

    Returns:
        The picture; None where no accuracy was followed over two steps or more.
    """
    found = _curve(findings, curves)
    if found is None:
        return None
    points = [(s, v) for s, v in zip(found.steps, found.value, strict=True) if v is not None]
    if len(points) < 2:
        return None
    first, last = points[0][0], points[-1][0]
    lowest = min(_known([*found.value, *(found.low or ()), *(h for _, h in found.references)]))
    floor = max(0.0, 0.1 * float(int(10 * lowest - 0.5)))

    def across(step: float | int) -> float:
        share = min(1.0, max(0.0, (step - first) / ((last - first) or 1)))
        return round(LEFT + share * (RIGHT - LEFT), 1)

    def up(value: float | int) -> float:
        return round(BOTTOM - (value - floor) / (1 - floor) * (BOTTOM - TOP), 1)

    start, end = (two(float(v)) for v in (points[0][1], points[-1][1]))
    what = found.mode or found.label
    return AnswerCurve(
        f"Line chart: accuracy of {what} from {start} at step {first} to {end} at step {last}",
        _caption(what, found, jump is not None),
        f"#{slug('curves accuracy')}",
        " ".join(f"{across(s)},{up(float(v))}" for s, v in points),
        _band(found, across, up),
        (across(jump[0]), across(jump[1]), across(jump[2])) if jump else None,
        _levels(found, up),
        tuple((number(s), across(s)) for s in _round_steps(first, last)),
        tuple((two(v), up(v)) for v in (floor, (floor + 1) / 2, 1.0)),
    )


def _curve(findings: Json, curves: Measure | None) -> Curve | None:
    named = (findings.get("jump") or {}).get("mode")
    by_mode = {c.mode: c for c in (curves.curves if curves else ()) if c.group == "accuracy"}
    wanted = [mode for mode in (named, *PREFERRED) if mode in by_mode]
    return by_mode[wanted[0]] if wanted else None


def _known(values: Iterable[float | int | None]) -> list[float]:
    return [float(v) for v in values if v is not None]


def _caption(what: str, curve: Curve, jump: bool) -> str:
    band = f"; band: {curve.interval}" if curve.low and curve.interval else ""
    marked = "; shaded: interval of the jump, line: its place" if jump else ""
    return f"Accuracy of {what} over training steps{band}{marked}."


def _band(curve: Curve, across: Any, up: Any) -> str:
    if curve.low is None or curve.high is None:
        return ""
    ends: list[tuple[Numbers, int]] = [(curve.high, 1), (curve.low, -1)]
    parts = []
    for values, way in ends:
        pairs = [(s, v) for s, v in zip(curve.steps, values, strict=True) if v is not None]
        parts += [f"{across(s)},{up(float(v))}" for s, v in pairs[::way]]
    return " ".join(parts)


def _levels(curve: Curve, up: Any) -> tuple[tuple[str, float, float], ...]:
    """Place base and chance, their names apart."""
    found: list[tuple[str, float, float]] = []
    lowest = float("-inf")
    for name, value in sorted(curve.references, key=lambda one: -one[1]):
        lowest = max(up(value) - 3, lowest + 12)
        found.append((name, up(value), lowest))
    return tuple(found)


def _round_steps(first: int, last: int) -> Sequence[int]:
    """Give up to nine round steps; powers of two where the last one is a power of two."""
    binary = last & (last - 1) == 0
    sizes = (
        k * base**power
        for base, factors in (((2, (1,)) if binary else (10, (1, 2, 5))),)
        for power in range(40)
        for k in factors
    )
    every = next(size for size in sizes if (last - first) / size <= 8)
    return [step for step in range(-(-first // every) * every, last + 1, every)]
