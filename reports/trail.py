"""Paths in a plane: rows of the file are directions, the figure is one dot per step."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from critical_phase.reports.elements import Map
from critical_phase.reports.figures import QUIET, Jump, floats, short_unit, svg_of
from critical_phase.reports.panels import MapFigure
from critical_phase.reports.style import PRINT

COLOUR, AT_JUMP = "#0173b2", "#a8402c"


def trail_svg(figure: MapFigure, jump: Jump | None) -> str:
    """Draw one path per head beside its random walk, both axes on one scale."""
    count = len(figure.maps)
    with matplotlib.rc_context(PRINT):
        wide = 0.3 + 3.7 * count
        canvas = Figure(figsize=(wide, 3.7))
        panels = canvas.subplots(1, count, squeeze=False).ravel()
        canvas.subplots_adjust(0.65 / wide, 0.13, 1 - 0.15 / wide, 0.84, wspace=0.24)
        for axes, item in zip(panels, figure.maps, strict=True):
            _draw(axes, item, jump)
            axes.set_title(f"{item.head} head" if item.head else "", fontsize=9)
        panels[0].legend(loc="best", handlelength=2.6)
        canvas.suptitle(f"{figure.title}, {short_unit(figure.unit)}", x=0.01, ha="left",
                        fontsize=11)  # fmt: skip
        return svg_of(canvas, figure.id)


def between(
    steps: Sequence[int], values: Float[np.ndarray, "row step"], at: float
) -> Float[np.ndarray, " row"]:
    """Return the point of a path at a step that need not be saved: straight between dots."""
    return np.array([np.interp(at, steps, row) for row in values])


def stretch(
    steps: Sequence[int], values: Float[np.ndarray, "row step"], low: float, high: float
) -> Float[np.ndarray, "row _point"]:
    """Return the part of a path between two steps, its ends included."""
    inside = [float(at) for at in steps if low < at < high]
    return np.stack([between(steps, values, at) for at in (low, *inside, high)], axis=1)


def _draw(axes: Axes, item: Map, jump: Jump | None) -> None:
    rows = np.array([floats(row) for row in item.values])
    x, y = rows[:2]
    if len(rows) > 3:
        axes.plot(rows[2], rows[3], color=QUIET, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1,
                  label="random walk")  # fmt: skip
    axes.plot(x, y, "o-", color=COLOUR, linewidth=1.3, markersize=2.4, zorder=3, label="the run")
    if jump is not None:
        step, low, high = jump
        part = stretch(item.steps, rows[:2], low, high)
        axes.plot(part[0], part[1], color=AT_JUMP, linewidth=4, alpha=0.55, zorder=2)
        at = between(item.steps, rows[:2], step)
        axes.plot([at[0]], [at[1]], "D", color=AT_JUMP, markersize=5, zorder=4, label="jump")
    for k, side in ((0, "left"), (len(x) - 1, "right")):
        axes.annotate(
            f"step {item.steps[k]}", (x[k], y[k]), xytext=(0, 7), textcoords="offset points",
            ha=side, fontsize=8, color=QUIET,
        )  # fmt: skip
    axes.plot([x[0]], [y[0]], "o", color=COLOUR, markerfacecolor="white", markersize=5, zorder=4)
    axes.margins(0.1)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xlabel=item.row_labels[0], ylabel=item.row_labels[1])
    axes.grid(zorder=0)
