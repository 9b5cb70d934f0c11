"""Small line plots of interventions: layers from below or above, and larger doses."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from critical_phase.reports import causes_pairs
from critical_phase.reports.causes_measure import suffix
from critical_phase.reports.causes_shapes import Answer, Causes, Pairs, Share
from critical_phase.reports.style import slug

SETS = (
    ("prefix", "this layer and all below"),
    ("suffix", "this layer and all above"),
    ("single", "this layer alone"),
)
"""Set of a graft, and what its line is called."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot."""

    label: str
    points: tuple[tuple[float, Share], ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """Shares over layers or doses."""

    id: str
    title: str
    x_name: str
    lines: tuple[Line, ...]
    band: Share | None
    """Drawn across: the random control, or every layer at once."""
    band_name: str
    caption: str


def plots(found: Causes) -> tuple[Plot, ...]:
    """Make the plots that the files of a run allow: layers first, then pairs, then doses."""
    layers = [plot for answer in found.answers for plot in _layers(answer, found)]
    doses = [_doses(answer, found) for answer in found.answers if answer.doses]
    return (*layers, *(plot for one in found.pairs for plot in _pairs(one, found)), *doses)


def plot_rows(plot: Plot) -> Iterable[tuple[Any, ...]]:
    """List every number of a plot, exactly."""
    yield ("line", plot.x_name, "share", "low", "high")
    for line in plot.lines:
        for x, share in line.points:
            yield (line.label, x, share.value, share.low, share.high)
    if plot.band is not None:
        yield (plot.band_name, None, plot.band.value, plot.band.low, plot.band.high)


def _layers(answer: Answer, found: Causes) -> Iterable[Plot]:
    lines = [_layer_line(answer, kind, label) for kind, label in SETS]
    drawn = tuple(line for line in lines if len(line.points) > 1)
    if drawn:
        own = answer.setting
        yield Plot(
            slug(f"interventions layers {answer.name}"),
            f"Late adapters, layer by layer, in the early model{suffix(answer, found)}",
            "layer",
            drawn,
            answer.control_share,
            f"control: {answer.control}",
            f"Share of the margin's change that the adapter rows of {own.late} bring into the "
            f"model of {own.early}. The two sums need not add up to 1: layers may work together. "
            "Shaded: interval of the control of the set that was chosen.",
        )


def _layer_line(answer: Answer, kind: str, label: str) -> Line:
    points = [
        (float(cell.axes["layer"]), cell.share)
        for cell in answer.cells
        if (cell.axes.get("set"), cell.axes.get("direction")) == (kind, "denoise")
        and isinstance(cell.axes.get("layer"), int | float)
        and cell.share is not None
        and "module" not in cell.axes
    ]
    return Line(label, tuple(sorted(points, key=lambda point: point[0])))


def _pairs(one: Pairs, found: Causes) -> Iterable[Plot]:
    lines = tuple(Line(label, points) for label, points in causes_pairs.by_layer(one))
    if lines:
        yield Plot(
            slug(f"interventions pairs {one.name}"),
            f"{causes_pairs.title(one)}{suffix(one, found)}",
            "layer",
            lines,
            causes_pairs.everywhere(one),
            "after every layer",
            causes_pairs.caption(one),
        )


def _doses(answer: Answer, found: Causes) -> Plot:
    grows = {
        True: "It grows with the dose, without a drop that is told from nothing.",
        False: "It does not grow with the dose, or drops on the way.",
        None: "",
    }[answer.monotone]
    kind = _dosed(answer)
    return Plot(
        slug(f"interventions dose {answer.name}"),
        f"Dose and response: {answer.plan.replace('_', ' ')}{suffix(answer, found)}",
        f"dose ({kind})" if kind else "dose",
        (Line("share that is there", answer.doses),),
        answer.control_share,
        f"control: {answer.control}",
        f"Answer: {answer.about.rstrip(' ,')}. {grows} Shaded: interval of the control, at full "
        "dose.",
    )


def _dosed(answer: Answer) -> str:
    """Say what the doses are of, where that is not what the answer itself is of."""
    shares: dict[Any, Share] = dict(answer.doses)
    sets = {
        str(cell.axes.get("set"))
        for cell in answer.cells
        if cell.share is not None and shares.get(cell.axes.get("dose")) == cell.share
    }
    found = sets.pop() if len(sets) == 1 else "dose"
    return "" if found.endswith("dose") else found


def ticks(low: float, high: float, most: int) -> list[float]:
    """Mark an axis at a round distance, at most so many times."""
    sizes = (k * 10.0**power for power in range(-3, 9) for k in (1, 2, 5))
    every = next(size for size in sizes if (high - low) / size <= most)
    first, last = math.ceil(low / every - 1e-9), math.floor(high / every + 1e-9)
    return [round(k * every, 6) for k in range(first, last + 1)]


def reach(plot: Plot) -> tuple[float, float, float, float]:
    """Give the ends of both axes: of x, then of y, with 0 and 1 inside."""
    across = [x for line in plot.lines for x, _ in line.points]
    shares = [share for line in plot.lines for _, share in line.points]
    shares += [plot.band] if plot.band else []
    up = [v for s in shares for v in (s.value, s.low, s.high) if v is not None]
    low, high = min([0.0, *up]), max([1.0, *up])
    pad = 0.06 * (high - low)
    return min(across), max(across), low - pad, high + pad
