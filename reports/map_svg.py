"""Each kind of map in print."""

from critical_phase.reports.figures import Jump, maps_svg
from critical_phase.reports.panels import MapFigure
from critical_phase.reports.ridge_svg import ridges_svg
from critical_phase.reports.squares import squares_svg
from critical_phase.reports.trail import trail_svg


def map_svg(figure: MapFigure, jump: Jump | None) -> str:
    """Draw maps of one quantity, in the form that their rows ask for.

    Args:
        figure: Maps of one quantity.
        jump: Step of the jump and its interval, or None.
    """
    if figure.kind == "squares":
        return squares_svg(figure, jump)
    if figure.kind == "trail":
        return trail_svg(figure, jump)
    return ridges_svg(figure) if figure.ridges else maps_svg(figure)
