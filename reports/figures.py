"""Print figures: the numbers of the page as quiet SVG, one file each."""

import io
import math
import re
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from critical_phase.reports.elements import Curve, Map, Numbers
from critical_phase.reports.panels import ROW_NAMES, Chart, MapFigure, panel_title
from critical_phase.reports.style import PRINT, layer_colour, line_style, palette_name
from critical_phase.reports.svg_cells import short_cells, short_dots

RASTER_ABOVE = 2000
"""Cells above which a map is drawn as an image inside the SVG."""
LEGEND_COLUMNS = 5
QUIET = "#6b6b6b"

Jump = tuple[float, float, float]


def chart_svg(chart: Chart, jump: Jump | None) -> str:
    """Draw curves with their bands, level lines and the jump.

    Args:
        chart: Curves that share axes.
        jump: Step of the jump and its interval, or None.
    """
    with matplotlib.rc_context(PRINT):
        rows = math.ceil(len(chart.curves) / LEGEND_COLUMNS) if len(chart.curves) > 1 else 0
        height = 3.3 + 0.2 * rows
        figure = Figure(figsize=(6.4, height))
        axes = figure.add_subplot()
        _mark_jump(axes, jump)
        layers = sorted({c.layer for c in chart.curves if c.layer is not None})
        for rank, curve in enumerate(chart.curves):
            _draw_curve(axes, curve, rank, layers)
        if chart.log:
            axes.set_yscale("log")
        references = dict(pair for curve in chart.curves for pair in curve.references)
        _draw_references(axes, references)
        axes.set(title=chart.title, xlabel="step", ylabel=short_unit(chart.unit))
        axes.grid(axis="y", zorder=0)
        _examples_axis(axes, chart.curves)
        _finish(figure, axes, rows, wide=not references)
        return svg_of(figure, chart.id)


def maps_svg(figure: MapFigure) -> str:
    """Draw maps of one quantity as small multiples on one colour scale."""
    columns = min(3, len(figure.maps))
    rows = math.ceil(len(figure.maps) / columns)
    tall = max(_panel_height(item) for item in figure.maps)
    with matplotlib.rc_context(PRINT):
        canvas = Figure(figsize=(max(4.2, 2.9 * columns + 0.6), tall * rows), layout="constrained")
        panels = canvas.subplots(rows, columns, squeeze=False).ravel()
        mesh = None
        shared = len({item.row_labels for item in figure.maps}) == 1
        for place, (axes, item) in enumerate(zip(panels, figure.maps, strict=False)):
            mesh = _draw_map(axes, item, figure)
            if shared and place % columns:
                axes.set(ylabel="", yticklabels=[])
        for axes in panels[len(figure.maps) :]:
            axes.set_visible(False)
        if mesh is not None:
            bar = canvas.colorbar(mesh, ax=list(panels), fraction=0.05, shrink=0.9, pad=0.02)
            bar.outline.set_visible(False)
            bar.set_label(short_unit(figure.unit), fontsize=8)
            bar.ax.tick_params(length=2)
        if len(figure.maps) > 1:
            canvas.suptitle(figure.title, x=0.01, ha="left", fontsize=11)
        return short_dots(short_cells(svg_of(canvas, figure.id)))


def _finish(figure: Figure, axes: Axes, rows: int, *, wide: bool) -> None:
    """Add the legend and fixed margins; a layout engine doubles the time of every chart."""
    if rows:
        figure.legend(
            handles=axes.get_legend_handles_labels()[0],
            loc="lower left",
            bbox_to_anchor=(0.05, 0),
            ncols=LEGEND_COLUMNS,
            handlelength=3.2,
        )
    height = figure.get_figheight()
    figure.subplots_adjust(
        left=0.11,
        right=0.97 if wide else 0.82,
        top=1 - 0.62 / height,
        bottom=(0.5 + 0.2 * rows) / height,
    )


def prefix_ids(svg: str, prefix: str) -> str:
    """Give every id of an SVG a prefix, so that two on one page cannot meet."""
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r"url\(#", f"url(#{prefix}-", svg)
    return re.sub(r'href="#', f'href="#{prefix}-', svg)


def as_inline(svg: str, *, digits: int) -> str:
    """Cut the XML head, which has no place inside HTML, and shorten coordinates further."""
    return _shorten(svg[svg.index("<svg") :], digits)


def svg_of(figure: Figure, prefix: str) -> str:
    """Write a figure without date, maker and ids that another could share."""
    FigureCanvasSVG(figure)
    stream = io.StringIO()
    with warnings.catch_warnings():
        # Constrained layout gives up on very small panels; the figure is still drawn.
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", stream.getvalue(), flags=re.DOTALL)
    return prefix_ids(_shorten(text, 2), prefix)


def _shorten(svg: str, digits: int) -> str:
    """Cut coordinates, never the text between tags, to a few digits."""
    long = re.compile(rf"(\d+\.\d{{{digits}}})\d+")
    return re.sub(r"<[^>]*>", lambda tag: long.sub(r"\1", tag[0]), svg)


def _draw_curve(axes: Axes, curve: Curve, rank: int, layers: Sequence[int]) -> None:
    colour, _, dashes = line_style(curve.label, rank)
    if curve.layer is not None:
        colour, dashes = layer_colour(layers.index(curve.layer), len(layers), dark=False), ()
    steps = np.array(curve.steps)
    sns.lineplot(
        x=steps, y=floats(curve.value), ax=axes, color=colour, label=curve.label,
        estimator=None, errorbar=None, legend=False, zorder=3,
        linestyle=(0, dashes) if dashes else "-",
    )  # fmt: skip
    if curve.low is not None and curve.high is not None:
        axes.fill_between(
            steps, floats(curve.low), floats(curve.high), color=colour, alpha=0.15, linewidth=0,
        )  # fmt: skip


def _draw_references(axes: Axes, references: dict[str, float]) -> None:
    """Draw level lines; their names keep a distance from each other."""
    low, high = axes.get_ylim()
    last = -math.inf
    for label, value in sorted(references.items(), key=lambda pair: pair[1]):
        axes.axhline(value, color=QUIET, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
        step = (high / low) ** 0.055 if axes.get_yscale() == "log" else 0.055 * (high - low)
        last = max(value, last * step if axes.get_yscale() == "log" else last + step)
        axes.annotate(
            label, (1, last), xycoords=("axes fraction", "data"), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize=8, color=QUIET,
        )  # fmt: skip


def _draw_map(axes: Axes, item: Map, figure: MapFigure) -> matplotlib.cm.ScalarMappable:
    values = np.array([floats(row) for row in item.values]).reshape(len(item.row_labels), -1)
    low, high = figure.limits
    sns.heatmap(
        values, ax=axes, vmin=low, vmax=high, cmap=palette_name(figure.diverging), cbar=False,
        xticklabels=False, yticklabels=False, rasterized=values.size > RASTER_ABOVE,
        mask=np.isnan(values),
    )  # fmt: skip
    ticks = _thin(len(item.steps), 5)
    axes.set_xticks([i + 0.5 for i in ticks], [str(item.steps[i]) for i in ticks], rotation=0)
    marks = _thin(len(item.row_labels), 16 if item.row_name != "step" else 5)
    axes.set_yticks([i + 0.5 for i in marks], [item.row_labels[i] for i in marks], rotation=0)
    axes.set(title=panel_title(item, figure), xlabel="step")
    axes.set_ylabel(ROW_NAMES.get(item.row_name, item.row_name))
    axes.tick_params(length=2, color="#999999")
    if item.row_name == "layer":
        axes.invert_yaxis()
    axes.collections[0].set(edgecolor="face", linewidth=0.4)  # no white seams between cells
    if figure.diverging:
        below_zero(axes, values)
    mesh: matplotlib.collections.QuadMesh = axes.collections[0]  # type: ignore[assignment]
    return mesh


def below_zero(axes: Axes, values: np.ndarray) -> None:
    """Dot the cells below zero: in grey both ends of a signed scale look alike."""
    corners: list[tuple[float, float]] = []
    for row, line in enumerate(values):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], line < 0, [False]]).astype(int)))
        for start, end in edges.reshape(-1, 2):
            corners += [(start, row), (end, row), (end, row + 1), (start, row + 1), (start, row)]
    if corners:
        moves = [Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY] * (len(corners) // 5)
        axes.add_patch(
            PathPatch(Path(corners, moves), fill=False, hatch="....", edgecolor="#00000080",
                      linewidth=0)
        )  # fmt: skip


def _panel_height(item: Map) -> float:
    if item.row_name == "step":
        return 2.9
    return min(7.0, 1.3 + 0.2 * max(4, len(item.row_labels)))


def _mark_jump(axes: Axes, jump: Jump | None) -> None:
    if jump is None:
        return
    step, low, high = jump
    axes.axvspan(low, high, color="#999999", alpha=0.16, linewidth=0)
    axes.axvline(step, color="#777777", linewidth=0.9)
    axes.annotate(
        "jump", (step, 1), xycoords=("data", "axes fraction"), xytext=(3, -9),
        textcoords="offset points", fontsize=8, color=QUIET,
    )  # fmt: skip


def _examples_axis(axes: Axes, curves: Sequence[Curve]) -> None:
    pairs = {s: e for curve in curves for s, e in zip(curve.steps, curve.examples, strict=True)}
    ratio = next((e / s for s, e in sorted(pairs.items()) if s), None)
    if ratio:
        factor = ratio

        def examples(steps: Any) -> Any:
            return steps * factor

        def back(shown: Any) -> Any:
            return shown / factor

        top = axes.secondary_xaxis("top", functions=(examples, back))
        top.set_xlabel("examples", fontsize=8, color=QUIET)
        top.spines["top"].set_visible(False)


def short_unit(unit: str) -> str:
    """Cut a long unit at its first comma or bracket."""
    return unit if len(unit) <= 42 else unit.split(",")[0].split("(")[0].strip()[:42]


def _thin(size: int, most: int) -> list[int]:
    stride = 2 ** max(0, math.ceil(math.log2(size / most))) if size else 1
    return list(range(0, size, stride))


def floats(values: Numbers) -> np.ndarray:
    """Turn numbers into an array, NaN for none."""
    return np.array([np.nan if v is None else v for v in values], dtype=float)
