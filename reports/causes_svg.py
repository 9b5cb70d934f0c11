"""Figures of interventions in print: the same shares as on the page, as quiet SVG."""

import re

from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from critical_phase.reports.causes_forest import NAME, Forest, Mark
from critical_phase.reports.causes_grids import Grid, colour, layer_word
from critical_phase.reports.causes_plots import Plot, reach
from critical_phase.reports.causes_shapes import plain
from critical_phase.reports.figures import svg_of
from critical_phase.reports.style import PRINT, SPARE
from critical_phase.reports.text import scrub, visible

OWN, CONTROL, OTHER = SPARE[0][0], "#555555", SPARE[1][0]
MARKS = ("o", "s", "^", "D")
UNIT = "share of the margin's change"


def forest_svg(figure: Forest) -> str:
    """Draw every answer with its control and its other direction."""
    count = sum(len(row.marks) + 0.6 for row in figure.rows)
    with rc_context(PRINT):
        height = 1.0 + 0.24 * count
        canvas = Figure(figsize=(7.6, height))
        axes = canvas.add_subplot()
        line, places, labels = 0.0, [], []
        for row in figure.rows:
            places.append(line + (len(row.marks) - 1) / 2)
            labels.append(printed(f"{row.answer.plan}: {row.answer.about}", 56))
            for mark in row.marks:
                _draw_mark(axes, mark, line, figure.span)
                line += 1
            line += 0.6
        for at in (0, 1):
            axes.axvline(at, color="#999999", linewidth=0.9, zorder=0)
        axes.set_yticks(places, labels)
        axes.set(xlim=figure.span, ylim=(line, -0.8), title="What interventions do")
        axes.set_xlabel(
            f"{UNIT} (0 early model, 1 late model); hollow: control; diamond: other way"
        )
        axes.tick_params(axis="y", labelsize=6.5, length=0)
        canvas.subplots_adjust(left=0.44, right=0.97, top=1 - 0.32 / height, bottom=0.5 / height)
        return svg_of(canvas, NAME)


def plot_svg(plot: Plot) -> str:
    """Draw shares over layers or doses, with the control across."""
    with rc_context(PRINT):
        canvas = Figure(figsize=(5.2, 3.2 + 0.17 * len(plot.lines)))
        axes = canvas.add_subplot()
        band = plot.band
        if band and band.low is not None and band.high is not None:
            axes.axhspan(band.low, band.high, color="#999999", alpha=0.3, linewidth=0)
        if band:
            axes.axhline(
                band.value,
                color=CONTROL,
                linewidth=0.9,
                linestyle=(0, (1, 2)),
                label=printed(plot.band_name, 60),
            )
        for at in (0, 1):
            axes.axhline(at, color="#cccccc", linewidth=0.8, zorder=0)
        for rank in range(len(plot.lines)):
            _draw_line(axes, plot, rank)
        first, last, low, high = reach(plot)
        pad = 0.05 * (last - first) or 0.5
        axes.set(title=printed(plot.title), xlabel=plot.x_name, ylabel=UNIT, ylim=(low, high))
        axes.set_xlim(first - pad, last + pad)
        if plot.x_name == "layer":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        rows = len(plot.lines) + (band is not None)
        canvas.legend(loc="lower left", bbox_to_anchor=(0.1, 0.0), fontsize=7, handlelength=3.2)
        below = (0.55 + 0.17 * rows) / canvas.get_figheight()
        canvas.subplots_adjust(left=0.12, right=0.97, top=0.9, bottom=below)
        return svg_of(canvas, plot.id)


def grid_svg(grid: Grid) -> str:
    """Draw a map of layers by columns, a number in every cell."""
    wide, tall = len(grid.columns), len(grid.layers)
    with rc_context(PRINT):
        width = max(3.0, 0.62 * wide + 0.8) * len(grid.panels)
        canvas = Figure(figsize=(width, 1.9 + 0.24 * tall), layout="constrained")
        every = canvas.subplots(1, len(grid.panels), squeeze=False).ravel()
        for axes, panel in zip(every, grid.panels, strict=True):
            for row, layer in enumerate(grid.layers):
                for at, column in enumerate(grid.columns):
                    value = grid.share(panel, layer, column)
                    if value is not None:
                        _draw_cell(axes, at, row, value, grid.limits)
            axes.set_xticks(
                range(wide), [printed(name, 30) for name in grid.columns], rotation=40, ha="right"
            )
            axes.set_yticks(range(tall), [layer_word(grid, layer) for layer in grid.layers])
            axes.set(xlim=(-0.5, wide - 0.5), ylim=(-0.5, tall - 0.5), title=panel.title)
            axes.set_ylabel("layer")
            axes.tick_params(length=0, labelsize=7)
        scale = _scale(grid)
        bar = canvas.colorbar(scale, ax=list(every), fraction=0.05, shrink=0.9, pad=0.02)
        bar.outline.set_visible(False)
        bar.set_label(UNIT, fontsize=8)
        canvas.suptitle(printed(grid.title), x=0.01, ha="left", fontsize=11)
        return svg_of(canvas, grid.id)


def printed(text: str, limit: int = 90) -> str:
    """Write text from data for print: cut at a length, one line, no formula."""
    said = re.sub(r"\s+", " ", visible(scrub(text)))
    return (said if len(said) <= limit else f"{said[: limit - 1]}…").replace("$", r"\$")


def _scale(grid: Grid) -> ScalarMappable:
    return ScalarMappable(Normalize(*grid.limits), colormaps["viridis"])


def _draw_cell(axes: Axes, at: int, row: int, value: float, limits: tuple[float, float]) -> None:
    fill, ink = colour(value, limits)
    axes.add_patch(Rectangle((at - 0.5, row - 0.5), 1, 1, color=fill, linewidth=0))
    axes.text(at, row, plain(value), ha="center", va="center", fontsize=6.5, color=ink)


def _draw_mark(axes: Axes, mark: Mark, line: float, span: tuple[float, float]) -> None:
    tint = {"own": OWN, "control": CONTROL, "other": OTHER}[mark.kind]
    share = mark.share
    inside = [
        min(max(v, span[0]), span[1]) for v in (share.low, share.value, share.high) if v is not None
    ]
    axes.plot([inside[0], inside[-1]], [line, line], color=tint, alpha=0.5, linewidth=2.4)
    axes.plot(
        [inside[len(inside) // 2]], [line], marker="D" if mark.kind == "other" else "o",
        markersize=4, color=tint, markerfacecolor=tint if mark.kind == "own" else "white",
    )  # fmt: skip


def _draw_line(axes: Axes, plot: Plot, rank: int) -> None:
    line, (tint, _, dashes) = plot.lines[rank], SPARE[rank % 4]
    across = [x for x, _ in line.points]
    axes.plot(
        across, [share.value for _, share in line.points], color=tint, marker=MARKS[rank % 4],
        markersize=4, linestyle=(0, dashes) if dashes else "-", label=printed(line.label),
    )  # fmt: skip
    for x, share in line.points:
        if share.low is not None and share.high is not None:
            axes.plot([x, x], [share.low, share.high], color=tint, alpha=0.5, linewidth=1)
