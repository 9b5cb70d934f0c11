"""Maps of layers by layers: rows of the file are pairs, the figure is one square per step."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import seaborn as sns
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from critical_phase.reports.elements import Map
from critical_phase.reports.figures import RASTER_ABOVE, Jump, short_unit, svg_of
from critical_phase.reports.panels import MapFigure
from critical_phase.reports.style import PRINT, palette_name
from critical_phase.reports.svg_cells import short_cells

MOST_SQUARES = 5
"""Steps that are printed; the page shows every one."""
MOST_LABELS = 6


def layer_names(item: Map) -> tuple[str, ...]:
    """List the layers that the pairs of a map are made of, in order."""
    return tuple(dict.fromkeys(label.split(" and ")[0] for label in item.row_labels))


def square(item: Map, column: int) -> Float[np.ndarray, "layer layer"]:
    """Return the values of one step as rows and columns, NaN for none."""
    names = layer_names(item)
    found = np.full((len(names), len(names)), np.nan)
    for label, values in zip(item.row_labels, item.values, strict=True):
        row, other = (names.index(name) for name in label.split(" and "))
        value = values[column]
        found[row, other] = found[other, row] = np.nan if value is None else value
    return found


def shown_columns(steps: Sequence[int], jump: Jump | None) -> list[int]:
    """Choose the steps to print: both ends and the jump, or evenly spread ones."""
    even = np.linspace(0, len(steps) - 1, min(MOST_SQUARES, len(steps))).round().astype(int)
    if jump is None:
        return sorted({int(k) for k in even})
    step, low, high = jump
    aims = (steps[0], low, step, high, steps[-1])
    return sorted({int(np.argmin(np.abs(np.array(steps) - aim))) for aim in aims})


def squares_svg(figure: MapFigure, jump: Jump | None) -> str:
    """Draw one line of squares per head, a square per chosen step."""
    columns = [shown_columns(item.steps, jump) for item in figure.maps]
    wide = max(map(len, columns))
    cells = sum(len(chosen) * len(layer_names(item)) ** 2
                for item, chosen in zip(figure.maps, columns, strict=True))  # fmt: skip
    with matplotlib.rc_context(PRINT):
        # Margins are known, and a layout engine doubles the time.
        size = np.array([1.5 + 1.4 * wide, 0.7 + 1.75 * len(figure.maps)])
        canvas = Figure(figsize=tuple(size))
        grid = canvas.subplots(len(figure.maps), wide, squeeze=False)
        left, bottom, right, top = np.array([0.7, 0.45, -0.85, -0.6]) / np.tile(size, 2)
        canvas.subplots_adjust(left, bottom, 1 + right, 1 + top, wspace=0.12, hspace=0.38)
        mesh = matplotlib.cm.ScalarMappable()
        for line, item, chosen in zip(grid, figure.maps, columns, strict=True):
            for axes in line[len(chosen) :]:
                axes.set_visible(False)
            for place, column in enumerate(chosen):
                mesh = _draw(line[place], item, column, figure, raster=cells > RASTER_ABOVE)
                line[place].set_xlabel("layer")
                line[place].set_title(f"step {item.steps[column]}", fontsize=8)
                if place:
                    line[place].set_yticklabels([])
            line[0].set_ylabel(f"{item.head} head, layer" if item.head else "layer")
        place_of_bar = (1 + right + 0.18 / size[0], bottom, 0.14 / size[0], 1 + top - bottom)
        bar = canvas.colorbar(mesh, cax=canvas.add_axes(place_of_bar))
        bar.outline.set_visible(False)
        bar.set_label(short_unit(figure.unit), fontsize=8)
        bar.ax.tick_params(length=2)
        canvas.suptitle(figure.title, x=0.01, ha="left", fontsize=11)
        return short_cells(svg_of(canvas, figure.id))


def _draw(
    axes: Axes, item: Map, column: int, figure: MapFigure, *, raster: bool
) -> matplotlib.cm.ScalarMappable:
    values, names = square(item, column), layer_names(item)
    sns.heatmap(
        values, ax=axes, vmin=figure.limits[0], vmax=figure.limits[1], cbar=False, square=True,
        cmap=palette_name(figure.diverging), xticklabels=False, yticklabels=False,
        rasterized=raster, mask=np.isnan(values),
    )  # fmt: skip
    marks = range(0, len(names), -(-len(names) // MOST_LABELS))
    short = ["emb" if name == "embed" else name for name in names]
    axes.set_xticks([k + 0.5 for k in marks], [short[k] for k in marks], rotation=0)
    axes.set_yticks([k + 0.5 for k in marks], [short[k] for k in marks], rotation=0)
    axes.tick_params(length=2, color="#999999", labelsize=7)
    axes.invert_yaxis()
    axes.collections[0].set(edgecolor="face", linewidth=0.4)  # no white seams between cells
    mesh: matplotlib.collections.QuadMesh = axes.collections[0]  # type: ignore[assignment]
    return mesh
