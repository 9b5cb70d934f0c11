"""Ridges in print: one distribution per step, the first at the top."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from critical_phase.reports.figures import QUIET, floats, svg_of
from critical_phase.reports.panels import ROW_NAMES, MapFigure
from critical_phase.reports.style import PRINT

MOST_RIDGES = 17
"""Steps that are drawn, evenly spaced among those saved."""
OVERLAP, HIGHEST = 2.2, 5.0
"""Height of the ridge that three of four steps do not exceed, and where a peak is cut, in
distances between two ridges."""


def ridges_svg(figure: MapFigure) -> str:
    """Draw the distributions of a quantity over the steps."""
    (item,) = figure.maps
    columns = np.unique(
        np.linspace(0, len(item.steps) - 1, min(MOST_RIDGES, len(item.steps))).round().astype(int)
    )
    values = np.nan_to_num(np.array([floats(row) for row in item.values]))
    middles = np.array([float(label) for label in item.row_labels])
    peaks = values.max(axis=0)
    known = peaks[peaks > 0]
    scale = OVERLAP / (np.quantile(known, 0.75, method="lower") if known.size else 1.0)
    top = min(HIGHEST, max(1.0, *(scale * peaks[columns] - np.arange(len(columns)))))
    with matplotlib.rc_context(PRINT):
        canvas = Figure(figsize=(6.4, 1.4 + 0.24 * len(columns)))
        axes = canvas.add_subplot()
        for row, column in enumerate(columns):
            line = row - np.minimum(HIGHEST, scale * values[:, column])
            axes.fill_between(middles, row, line, color="#dcebf5", linewidth=0, zorder=row)
            axes.plot(middles, line, color="#0173b2", linewidth=1.1, zorder=row)
        axes.axvline(0, color=QUIET, linewidth=0.9, linestyle=(0, (1, 2)), zorder=99)
        axes.set_yticks(range(len(columns)), [str(item.steps[c]) for c in columns])
        axes.set(ylim=(len(columns) - 0.6, -top - 0.2), title=figure.title, ylabel="step")
        axes.set_xlabel(ROW_NAMES.get(item.row_name, item.row_name))
        return svg_of(canvas, figure.id)
