"""What a figure of a sweep is made of: panels of lines."""

from dataclasses import dataclass

from critical_phase.reports.elements import Numbers


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a panel."""

    label: str
    x: tuple[float | int, ...]
    y: Numbers
    low: Numbers
    high: Numbers
    """Ends of the band or of the error bars; None where there is none."""
    joined: bool = True
    """Whether neighbours are joined: points of one run are, different runs are not."""
    style: str = ""
    """Label whose fixed colour the line takes; its own by default."""
    hollow: bool = False
    """Whether the points are rings: their places would move if the runs went on."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines that share axes."""

    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    levels: tuple[tuple[str, float], ...] = ()
    """Level lines: name and height."""
    log: bool = False
    """Whether x counts examples on a logarithmic axis, with the critical phase shaded."""
    ticks: tuple[str, ...] = ()
    """Names of the places 0, 1, ... of an axis of names."""


@dataclass(frozen=True, slots=True)
class SweepFigure:
    """One figure with its caption."""

    id: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
