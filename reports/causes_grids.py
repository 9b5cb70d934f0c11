"""Maps of interventions: what each layer and module brings, beside what it takes away."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib

from critical_phase.reports.causes_measure import suffix
from critical_phase.reports.causes_shapes import Answer, Causes, Cell
from critical_phase.reports.style import slug

KINDS = (
    ("graft", ("module", "single"), ("module",), "Late adapters by layer and module"),
    ("graft", ("head",), ("head",), "Late adapters by layer and attention head"),
    ("frozen_attention", ("head", "layer"), ("head",), "Attention patterns by layer and head"),
    ("patch", ("patch",), ("site", "position"), "Activations by layer, site and position"),
    ("constant_vector", ("vector",), ("scope",), "One constant vector by layer and positions"),
)
"""Intervention, its sets, axes of a column, and title."""
WAYS = (("denoise", "brings into the early model"), ("noise", "takes away from the late model"))
"""Direction, and what its panel is called."""
LEAST_REACH = 0.2
"""Colours run at least to this share, so that noise never looks bright."""
WHOLE = "whole layer"

Place = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Panel:
    """One direction of a map."""

    title: str
    cells: Mapping[Place, Cell]
    """Layer and column -> what was measured there."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Layers by modules, heads or positions; both directions on one scale."""

    id: str
    title: str
    layers: tuple[int, ...]
    columns: tuple[str, ...]
    panels: tuple[Panel, ...]
    limits: tuple[float, float]
    caption: str

    def share(self, panel: Panel, layer: int, column: str) -> float | None:
        """Give what a place does; None where it was not measured."""
        cell = panel.cells.get((layer, column))
        return cell.does.value if cell and cell.does else None


def grids(found: Causes) -> tuple[Grid, ...]:
    """Make every map that the cells of a run allow."""
    made = [
        _grid(answer, kind, found)
        for answer in found.answers
        for kind in KINDS
        if answer.intervention == kind[0]
    ]
    return tuple(grid for grid in made if grid is not None)


def grid_rows(grid: Grid) -> Iterable[tuple[Any, ...]]:
    """List every number of a map, exactly."""
    yield ("panel", "layer", "column", "share", "low", "high", "cell")
    for panel in grid.panels:
        for (layer, column), cell in sorted(panel.cells.items()):
            does = cell.does
            ends = (does.value, does.low, does.high) if does else (None, None, None)
            yield (panel.title, layer, column, *ends, cell.name)


def colour(value: float, limits: tuple[float, float]) -> tuple[str, str]:
    """Choose the colour of a cell on viridis, and black or white for what is written on it."""
    share = (value - limits[0]) / (limits[1] - limits[0])
    rgb = matplotlib.colormaps["viridis"](min(1.0, max(0.0, share)))[:3]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in rgb]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    dark_text = (light + 0.05) / 0.05 > 1.05 / (light + 0.05)
    return str(matplotlib.colors.to_hex(rgb)), "#000000" if dark_text else "#ffffff"


def layer_word(grid: Grid, layer: int) -> str:
    """Name a row; a constant vector may go in after every layer."""
    return str(layer) if layer >= 0 else "every"


def _grid(answer: Answer, kind: tuple[Any, ...], found: Causes) -> Grid | None:
    _, sets, axes, title = kind
    fitting = [cell for cell in answer.cells if cell.axes.get("set") in sets]
    panels = tuple(
        Panel(words, cells) for way, words in WAYS if (cells := _cells(fitting, way, axes))
    )
    places = [place for panel in panels for place in panel.cells]
    columns = tuple(sorted({column for _, column in places}, key=lambda c: (c == WHOLE, c)))
    if not columns or columns == (WHOLE,):
        return None
    values = [c.does.value for p in panels for c in p.cells.values() if c.does]
    return Grid(
        slug(f"interventions map {answer.name} {' '.join(axes)}"),
        title + suffix(answer, found),
        tuple(sorted({layer for layer, _ in places})),
        columns,
        panels,
        (min([0.0, *values]), max([LEAST_REACH, *values])),
        _caption(answer, len(panels)),
    )


def _cells(cells: Iterable[Cell], way: str, axes: tuple[str, ...]) -> dict[Place, Cell]:
    made = {}
    for cell in cells:
        layer = cell.axes.get("layer")
        if cell.axes.get("direction") == way and isinstance(layer, int) and cell.share:
            named = [str(cell.axes[axis]) for axis in axes if axis in cell.axes]
            column = " ".join(named)
            spoken = column if axes == ("module",) else column.replace("_", " ")
            made[layer, spoken or WHOLE] = cell
    return made


def _caption(answer: Answer, panels: int) -> str:
    both = " Both directions on one scale." if panels > 1 else ""
    random = ""
    if answer.control_share is not None:
        random = f" Control of the chosen set, {answer.control}: {answer.control_share.text}."
    return (
        f"Share of the margin's change, each place changed alone, {answer.setting.early} and "
        f"{answer.setting.late}.{both} Bold: the 95\u00a0% interval lies above nothing.{random}"
    )
