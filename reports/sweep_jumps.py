"""The figure of the jumps of a sweep: one point per run, on three clocks."""

from collections.abc import Sequence
from typing import Any

from critical_phase.reports.elements import Json
from critical_phase.reports.sweep_select import cells_beside, place_of, varied
from critical_phase.reports.sweep_shapes import Line, Panel, SweepFigure

CLOCKS = {"steps": "steps", "examples": "examples", "summed_lr": "summed learning rate"}


def places(value: Json) -> SweepFigure:
    """Arrange where accuracy jumps, by every setting that varies."""
    panels = [
        _place_panel(value, key, clock, name)
        for key in varied(value)
        for clock, name in CLOCKS.items()
    ]
    return SweepFigure(
        "jumps",
        "Where accuracy jumps",
        "Step at which accuracy of likra (base_likra without a positive head) has risen half-way "
        "to its end, on three clocks. One point per run, seeds side by side; bars: 95 % question "
        "bootstrap, given that accuracy rises. Rings: accuracy still rises at the last step, and "
        "more steps would move the point. A run whose rise has an interval that reaches zero has "
        "no point. Only cells that share the first level of every other factor are shown.",
        tuple(panel for panel in panels if panel.lines),
    )


def _place_panel(value: Json, key: str, clock: str, name: str) -> Panel:
    cells = cells_beside(value, key)
    names = _in_order([cell["settings"].get(key) for cell in cells])
    seeds = sorted({cell["seed"] for cell in cells})
    points = [
        (
            names.index(str(cell["settings"].get(key))) + _aside(seeds.index(cell["seed"]), seeds),
            place_of(cell),
        )
        for cell in cells
    ]
    kept = [(at, jump) for at, jump in points if jump and jump[f"half_rise_{clock}"] is not None]
    if len(names) < 2 or not kept:
        return Panel(key, key, name, ())
    ended = [(at, jump) for at, jump in kept if not jump.get("still_rising")]
    rising = [(at, jump) for at, jump in kept if jump.get("still_rising")]
    lines = (
        _points("runs", ended, clock, hollow=False),
        _points("runs, still rising at the last step", rising, clock, hollow=True),
    )
    shown = tuple(line for line in lines if line.x)
    return Panel(f"{key}, in {name}", key, name, shown, ticks=tuple(names))


def _in_order(levels: Sequence[Any]) -> list[str]:
    """Name the levels of a factor: numbers by size, others as they come."""
    numbers = [isinstance(level, int | float) for level in levels]
    return list(dict.fromkeys(map(str, sorted(levels) if all(numbers) else levels)))


def _aside(rank: int, seeds: Sequence[int]) -> float:
    """Move the seeds of one level apart, within a third of a place to either side."""
    return (rank - (len(seeds) - 1) / 2) * min(0.12, 0.66 / len(seeds))


def _points(label: str, kept: Sequence[tuple[float, Json]], clock: str, *, hollow: bool) -> Line:
    return Line(
        label=label,
        x=tuple(at for at, _ in kept),
        y=tuple(jump[f"half_rise_{clock}"] for _, jump in kept),
        low=tuple(jump[f"low_{clock}"] for _, jump in kept),
        high=tuple(jump[f"high_{clock}"] for _, jump in kept),
        joined=False,
        style="likra",
        hollow=hollow,
    )
