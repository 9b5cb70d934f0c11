"""Where the marks of a plot of interventions stand on the page, in units of its view box."""

from collections.abc import Callable
from dataclasses import dataclass

from critical_phase.reports.causes_plots import Plot, reach, ticks
from critical_phase.reports.causes_shapes import Share, plain
from critical_phase.reports.style import MINUS

Scale = Callable[[float], float]
WIDE, HIGH = 420.0, 236.0
LEFT, RIGHT, TOP, BOTTOM = 40.0, 14.0, 10.0, 40.0
ASIDE = 5.0
"""How far lines stand apart across, so that their intervals do not hide each other."""


@dataclass(frozen=True, slots=True)
class Dot:
    """One value with its interval."""

    x: float
    y: float
    low: float
    high: float
    text: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """A plot, ready for the template."""

    x_ticks: tuple[tuple[str, float], ...]
    y_ticks: tuple[tuple[str, float], ...]
    lines: tuple[tuple[str, str, tuple[Dot, ...]], ...]
    """Label, path and dots."""
    band: tuple[float, float] | None
    """Top and height of the control's interval."""
    band_at: float | None
    levels: tuple[float, float]
    """Heights of the early and the late model."""
    words: str
    """What is seen, for those who do not see it."""


def drawn(plot: Plot) -> Drawn:
    """Place a plot in its view box."""
    first, last, low, high = reach(plot)
    pad = 0.04 * (last - first) or 1.0

    def across(x: float) -> float:
        return LEFT + 8 + (x - first + pad) / (last - first + 2 * pad) * (WIDE - LEFT - RIGHT - 16)

    def up(y: float) -> float:
        return TOP + (high - y) / (high - low) * (HIGH - TOP - BOTTOM)

    lines = []
    for rank, line in enumerate(plot.lines):
        aside = (rank - (len(plot.lines) - 1) / 2) * ASIDE
        dots = tuple(_dot(across(x) + aside, share, up, x) for x, share in line.points)
        path = "M" + "L".join(f"{dot.x:.1f} {dot.y:.1f}" for dot in dots)
        lines.append((line.label, path, dots))
    band = plot.band
    whole = plot.x_name == "layer"
    marks = [x for x in ticks(first, last, 9) if not whole or x == int(x)]
    return Drawn(
        tuple((f"{x:g}".replace("-", MINUS), round(across(x), 1)) for x in marks),
        tuple((f"{y:g}".replace("-", MINUS), round(up(y), 1)) for y in ticks(low, high, 6)),
        tuple(lines),
        _band(band, up),
        None if band is None else round(up(band.value), 1),
        (round(up(0.0), 1), round(up(1.0), 1)),
        words(plot),
    )


def words(plot: Plot) -> str:
    """Say a plot in words: the ends of every line, and the control."""
    told = [
        f"{line.label}: {plain(line.points[0][1].value)} at {line.points[0][0]:g} to "
        f"{plain(line.points[-1][1].value)} at {line.points[-1][0]:g}"
        for line in plot.lines
    ]
    told += [f"{plot.band_name} {plot.band.text}"] if plot.band else []
    return f"{plot.title}, by {plot.x_name}. {'; '.join(told)}."


def _dot(x: float, share: Share, up: Scale, at: float) -> Dot:
    low = share.value if share.low is None else share.low
    high = share.value if share.high is None else share.high
    height, top, bottom = (round(up(v), 1) for v in (share.value, low, high))
    return Dot(round(x, 1), height, top, bottom, f"{at:g}: {share.text}")


def _band(band: Share | None, up: Scale) -> tuple[float, float] | None:
    if band is None or band.low is None or band.high is None:
        return None
    return round(up(band.high), 1), max(1.0, round(up(band.low) - up(band.high), 1))
