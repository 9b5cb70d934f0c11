"""The order of changes: how far before or after the jump each quantity changed, as a chart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from critical_phase.reports.elements import Measure
from critical_phase.reports.ranked import change_name, jump_mark, ranked_changes, state_link
from critical_phase.reports.style import interval, number
from critical_phase.reports.tables import lead_span, place

Json = dict[str, Any]

NAME = "order-of-changes"
"""Id of the chart, and name of its files."""
MOST = 60
"""Changes that are drawn; the CSV beside the chart has all."""


@dataclass(frozen=True, slots=True)
class Lead:
    """One change, placed in time; times are shares of the axis in percent."""

    name: str
    place: str
    text: str
    """The lead or the step in words, with its interval."""
    href: str
    order: str
    """`before`, `with`, `after`, `unresolved`, or nothing where there is no jump."""
    at: float
    low: float
    high: float
    steps: tuple[float, float, float]
    """The same in steps: estimate and interval."""


@dataclass(frozen=True, slots=True)
class Order:
    """The chart."""

    title: str
    unit: str
    caption: str
    leads: tuple[Lead, ...]
    ticks: tuple[tuple[str, float], ...]
    """Label, and its place in percent."""
    jump: tuple[float, float, float] | None
    """Place of the jump and its interval in percent, where there is one."""
    span: tuple[float, float]
    """Ends of the axis in steps."""
    rows: tuple[tuple[Any, ...], ...]
    """Every change, for the CSV: a heading and one line each."""


def order_of_changes(findings: Json, tested: Measure | None) -> Order | None:
    """Put the abrupt changes in order of time; None where there is none.

    Args:
        findings: The findings, whose changes lead or follow the jump.
        tested: The measure `changes`, for a run whose accuracy has no jump.
    """
    mark = jump_mark(findings)
    placed = [
        (item, times)
        for item in ranked_changes(findings, tested)
        if (times := _times(item, mark is not None)) is not None
    ]
    if not placed:
        return None
    shown = sorted(placed[:MOST], key=lambda pair: pair[1][0])
    zone = (0.0, mark[1] - mark[0], mark[2] - mark[0]) if mark else None
    span = _span([t for _, t in shown] + ([zone] if zone else []))
    return Order(
        "What moved first" if mark else "When quantities changed",
        "steps before (left) or after (right) the jump of accuracy" if mark else "step",
        _caption(len(placed), mark is not None),
        tuple(_lead(item, times, span) for item, times in shown),
        _ticks(span, signed=mark is not None),
        tuple(_percent(t, span) for t in zone) if zone else None,  # type: ignore[arg-type]
        span,
        _rows([item for item, _ in placed]),
    )


def _caption(count: int, jump: bool) -> str:
    shown = f" Shown: the {MOST} least likely under a smooth curve, of {count}." * (count > MOST)
    if not jump:
        return (
            "Every quantity that changed abruptly, at its step with its 95\u00a0% interval. "
            f"Accuracy has no jump, so nothing leads or follows it.{shown}"
        )
    return (
        "Every quantity that changed abruptly: the dot is its lead, the bar the 95\u00a0% interval "
        "of the lead (the same resamples for quantity and jump). Shaded: interval of the jump. "
        "A hollow dot claims no order. Control: a quantity is listed only where smooth curves with "
        f"its noise look as abrupt in less than the adjusted p. Moving first is no cause.{shown}"
    )


def _times(item: Json, jump: bool) -> tuple[float, float, float] | None:
    """Give estimate and interval in steps: of the lead where there is a jump, else of the step."""
    value, pair = (
        (item.get("lead_steps"), item.get("lead_interval"))
        if jump
        else (item.get("tau_step"), item.get("interval_steps"))
    )
    if value is None:
        return None
    low, high = pair if pair and None not in pair else (value, value)
    return float(value), float(low), float(high)


def _lead(item: Json, times: tuple[float, float, float], span: tuple[float, float]) -> Lead:
    said = f"step {number(times[0])} {interval((times[1], times[2]))}"
    if item.get("lead_steps") is not None:
        said = "the jump itself" if _is_jump(item) else lead_span(item)
    at, low, high = (_percent(t, span) for t in times)
    return Lead(
        change_name(item),
        place(item),
        said,
        state_link(item),
        _order(item),
        at,
        low,
        high,
        times,
    )


def _order(item: Json) -> str:
    lead = item.get("lead_steps")
    if lead is None or _is_jump(item):
        return ""
    return str(item.get("order") or ("before" if lead < 0 else "after"))


def _is_jump(item: Json) -> bool:
    """Say whether a change is the jump itself, which neither leads nor follows."""
    return item.get("lead_steps") == 0 and item.get("order") == ""


def _span(times: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    low, high = min(min(t) for t in times), max(max(t) for t in times)
    pad = 0.04 * (high - low) or 1.0
    return low - pad, high + pad


def _percent(value: float, span: tuple[float, float]) -> float:
    return round(100 * (value - span[0]) / (span[1] - span[0]), 2)


def _ticks(span: tuple[float, float], *, signed: bool) -> tuple[tuple[str, float], ...]:
    """Mark the axis at a round distance, five to ten times."""
    wide = span[1] - span[0]
    sizes = (k * 10.0**power for power in range(-2, 9) for k in (1, 2, 5))
    every = next(size for size in sizes if wide / size <= 9)
    first, last = int(-(-span[0] // every)), int(span[1] // every)
    marks = [k * every for k in range(first, last + 1)]
    return tuple(
        ("+" * (signed and m > 0) + number(m if m % 1 else int(m)), _percent(m, span))
        for m in marks
    )


def _rows(items: Sequence[Json]) -> tuple[tuple[Any, ...], ...]:
    head = ("quantity", "layer", "attention_head", "order", "tau_step", "tau_low", "tau_high",
            "lead_steps", "lead_low", "lead_high", "p_adjusted")  # fmt: skip
    rows = [
        (
            item.get("quantity"), item.get("layer"), item.get("head"), _order(item) or None,
            item.get("tau_step"), *(item.get("interval_steps") or (None, None)),
            item.get("lead_steps"), *(item.get("lead_interval") or (None, None)),
            item.get("p_adjusted"),
        )
        for item in items
    ]  # fmt: skip
    return (head, *rows)
