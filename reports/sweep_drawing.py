"""Draw the panels of a sweep as quiet SVG, and write the numbers behind them."""

import math

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from critical_phase.reports.elements import Numbers
from critical_phase.reports.figures import QUIET
from critical_phase.reports.figures import svg_of as svg_text
from critical_phase.reports.style import PRINT, SPARE, line_style
from critical_phase.reports.sweep_select import PHASE
from critical_phase.reports.sweep_shapes import Line, Panel, SweepFigure
from critical_phase.reports.tables import csv_text
from critical_phase.reports.text import scrub, visible

COLUMNS = 2
MOST_COLUMNS = 3
WIDTHS = {1: 3.9, 2: 3.9, 3: 3.1}
"""Inches of a panel by columns: a wide figure is shrunk on the page, its text with it."""

ROOM = 24
"""Characters of names that fit side by side under a panel."""

MARKERS = ("", "o", "s", "^", "D")
"""Marks of the first lines, of those that take the same colours again, and so on."""


def figure_svg(figure: SweepFigure) -> str:
    """Draw one figure as small multiples with a legend of their own."""
    panels = figure.panels
    columns = min(COLUMNS if len(panels) <= COLUMNS else MOST_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    keys = max(len(panel.lines) for panel in panels)
    titles = {"axes.titlesize": 10 if columns <= COLUMNS else 8.5}
    with matplotlib.rc_context({**PRINT, **titles}):
        size = (WIDTHS[columns] * columns, (2.9 + 0.17 * keys) * rows)
        canvas = Figure(figsize=size, layout="constrained")
        places = canvas.subplots(rows, columns, squeeze=False).ravel()
        for axes, panel in zip(places, panels, strict=False):
            _draw(axes, panel)
        for axes in places[len(panels) :]:
            axes.set_visible(False)
        return svg_text(canvas, f"sweep-{figure.id}")


def figure_csv(figure: SweepFigure) -> str:
    """Write every point of a figure; undefined is blank."""
    rows: list[tuple[object, ...]] = [("panel", "series", "x", "y", "low", "high")]
    for panel in figure.panels:
        for line in panel.lines:
            for x, y, low, high in zip(line.x, line.y, line.low, line.high, strict=True):
                named = panel.ticks[round(x)] if panel.ticks else x
                rows.append((panel.title, line.label, named, y, low, high))
    return csv_text(rows)


def _draw(axes: Axes, panel: Panel) -> None:
    if panel.log:
        _examples_axis(axes, panel)
    for rank, line in enumerate(panel.lines):
        _draw_line(axes, line, rank, log=panel.log)
    for name, height in panel.levels:
        axes.axhline(height, color=QUIET, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
        axes.annotate(
            name, (1, height), xycoords=("axes fraction", "data"), xytext=(-2, 2),
            textcoords="offset points", ha="right", fontsize=7, color=QUIET,
        )  # fmt: skip
    axes.set(title=plain(panel.title), xlabel=plain(panel.x), ylabel=plain(panel.y))
    axes.grid(axis="y", zorder=0)
    axes.margins(y=0.08)
    if panel.ticks:
        axes.set_xticks(range(len(panel.ticks)), [plain(name) for name in panel.ticks])
        if sum(map(len, panel.ticks)) > ROOM:
            axes.tick_params(axis="x", labelrotation=90)
        axes.set_xlim(-0.5, len(panel.ticks) - 0.5)
    if len(panel.lines) > 1 and not panel.ticks:  # names take its place; the caption tells
        axes.legend(
            loc="upper left", bbox_to_anchor=(0, -0.2), fontsize=7, handlelength=3, borderpad=0
        )


def _examples_axis(axes: Axes, panel: Panel) -> None:
    """Use a logarithmic axis with the critical phase shaded; 0 examples is the base line."""
    seen = [x for line in panel.lines for x in line.x if x > 0] or [1, 10]
    axes.set_xscale("log", base=2)
    axes.set_xlim(min(seen) / 1.15, max(max(seen), min(seen) * 2) * 1.15)
    axes.xaxis.set_major_locator(LogLocator(base=2, numticks=12))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0f}"))
    axes.tick_params(axis="x", labelrotation=45)
    low, high = max(PHASE[0], min(seen)), min(PHASE[1], max(seen))
    if low < high:
        axes.axvspan(low, high, color="#999999", alpha=0.14, linewidth=0, zorder=0)


def _draw_line(axes: Axes, line: Line, rank: int, *, log: bool) -> None:
    colour, _, dashes = line_style(line.style, rank)
    kept = np.array([x > 0 or not log for x in line.x], dtype=bool)
    x, y = np.array(line.x, dtype=float)[kept], floats(line.y)[kept]
    low, high = floats(line.low)[kept], floats(line.high)[kept]
    if not line.joined:
        known = np.isfinite(low) & np.isfinite(high)
        axes.vlines(x[known], low[known], high[known], color=colour, linewidth=1, alpha=0.7)
        sns.scatterplot(
            x=x, y=y, ax=axes, label=plain(line.label), legend=False, zorder=4, s=22,
            color="white" if line.hollow else colour, edgecolor=colour, linewidth=1,
        )  # fmt: skip
        return
    marker = "" if line.style else MARKERS[rank // len(SPARE) % len(MARKERS)]
    sns.lineplot(
        x=x, y=y, ax=axes, color=colour, label=plain(line.label), estimator=None, errorbar=None,
        legend=False, zorder=3, linestyle=(0, dashes) if dashes else "-", marker=marker,
    )  # fmt: skip
    if np.isfinite(low).any():
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)


def floats(values: Numbers) -> np.ndarray:
    """Turn numbers with holes into an array with NaN."""
    return np.array([np.nan if v is None else v for v in values], dtype=float)


def plain(text: str) -> str:
    """Keep a text a text: no formula, no control character, no folder of this machine."""
    return visible(scrub(text)).replace("$", r"\$")
