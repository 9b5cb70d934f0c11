"""The order of changes in print: one line per quantity, the jump at zero."""

import matplotlib
from matplotlib.figure import Figure

from critical_phase.reports.figures import QUIET, svg_of
from critical_phase.reports.order import NAME, Order
from critical_phase.reports.style import PRINT

COLOUR = "#0173b2"


def order_svg(order: Order) -> str:
    """Draw leads with their intervals; hollow dots claim no order."""
    count = len(order.leads)
    with matplotlib.rc_context(PRINT):
        height = 1.2 + 0.2 * count
        figure = Figure(figsize=(7.2, height))
        axes = figure.add_subplot()
        if order.jump:
            low, high = (_steps(share, order) for share in order.jump[1:])
            axes.axvspan(low, high, color="#999999", alpha=0.16, linewidth=0)
            axes.axvline(0, color="#777777", linewidth=0.9)
        for row, lead in enumerate(order.leads):
            at, start, end = lead.steps
            axes.plot([start, end], [row, row], color=COLOUR, alpha=0.45, linewidth=2.6)
            filled = COLOUR if lead.order in ("before", "after", "") else "white"
            axes.plot([at], [row], "o", markersize=4, color=COLOUR, markerfacecolor=filled)
        names = [", ".join(filter(None, (lead.name, lead.place))) for lead in order.leads]
        axes.set_yticks(range(count), [n if len(n) < 64 else f"{n[:62]}…" for n in names])
        axes.set(xlim=order.span, ylim=(count - 0.4, -0.6), title=order.title)
        axes.set_xlabel(order.unit, color=QUIET)
        axes.grid(axis="x")
        axes.tick_params(axis="y", labelsize=6.5, length=0)
        figure.subplots_adjust(left=0.46, right=0.97, top=1 - 0.35 / height, bottom=0.55 / height)
        return svg_of(figure, NAME)


def _steps(percent: float, order: Order) -> float:
    return order.span[0] + percent / 100 * (order.span[1] - order.span[0])
