"""What one section shows: curves that share axes, and maps that share a colour scale."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from critical_phase.reports.captions import (
    chart_facts,
    figure_title,
    joined,
    log_axis,
    map_facts,
    unique,
)
from critical_phase.reports.elements import Curve, Map
from critical_phase.reports.style import TRIM, slug

ROW_NAMES = {
    "layer": "layer",
    "attention_head": "attention head",
    "module": "module",
    "step": "step",
    "weight": "weight w",
    "size": "size of the change",
    "margin": "margin (nats)",
    "question": "question",
    "pair": "pair of layers",
    "direction": "direction",
}

KINDS = {"margin": "ridges", "pair": "squares", "direction": "trail"}
"""Kind of rows -> what a figure of them is; of any other, a map of rows by steps."""

KIND_WORDS = {
    "map": "Heat map",
    "ridges": "Ridges",
    "squares": "Layers by layers",
    "trail": "Path",
}
"""What a figure is called to those who cannot see it."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Curves that share axes."""

    id: str
    title: str
    unit: str
    head: str | None
    """The adapter head it belongs to, when the page shows one head at a time."""
    layered: bool
    curves: tuple[Curve, ...]
    caption: str
    facts: str

    @property
    def log(self) -> bool:
        """Whether the value axis is logarithmic."""
        return log_axis(self.curves)


@dataclass(frozen=True, slots=True)
class MapFigure:
    """Maps of one quantity, side by side on one colour scale."""

    id: str
    title: str
    unit: str
    maps: tuple[Map, ...]
    limits: tuple[float, float]
    diverging: bool
    caption: str
    facts: str
    controls: tuple[str, ...]

    @property
    def kind(self) -> str:
        """How it is drawn: `map`, `ridges`, `squares` or `trail`."""
        return KINDS.get(self.maps[0].row_name, "map")

    @property
    def ridges(self) -> bool:
        """Whether its rows are bins of a distribution, drawn as one ridge per step."""
        return self.kind == "ridges"

    @property
    def gaps(self) -> bool:
        """Whether a cell has no value."""
        return any(v is None for item in self.maps for row in item.values for v in row)

    @property
    def wide(self) -> bool:
        """Whether one head has several maps, which need the whole width."""
        heads = [item.head for item in self.maps]
        alone = self.kind == "squares" or (self.kind == "trail" and len(heads) > 1)
        return alone or any(heads.count(head) > 1 for head in heads)


def charts(measure: str, curves: Sequence[Curve]) -> tuple[Chart, ...]:
    """Put curves of one group into one chart, by head where they are told apart by layer."""
    layered = {curve.group for curve in curves if curve.layer is not None}
    keyed: dict[tuple[str, str | None], list[Curve]] = {}
    for curve in curves:
        head = curve.head if curve.group in layered else None
        keyed.setdefault((curve.group, head), []).append(curve)
    return tuple(
        Chart(
            id=slug(f"{measure} {group}" + (f" {head}" if head and head not in group else "")),
            title=figure_title(
                [curve.title for curve in members], group, _only(c.head for c in members)
            ),
            unit=members[0].unit,
            head=head,
            layered=group in layered,
            curves=tuple(members),
            caption=joined(curve.caption for curve in members),
            facts=chart_facts(members),
        )
        for (group, head), members in keyed.items()
    )


def map_figures(measure: str, maps: Sequence[Map]) -> tuple[MapFigure, ...]:
    """Put maps of one quantity side by side."""
    keyed: dict[tuple[str, str], list[Map]] = {}
    for item in maps:
        keyed.setdefault((item.id.split(".")[0], item.row_name), []).append(item)
    stems = [stem for stem, _ in keyed]
    return tuple(
        MapFigure(
            id=slug(f"{measure} {stem} map" + (f" {row}" if stems.count(stem) > 1 else "")),
            title=figure_title(
                [item.title for item in members], stem, _only(m.head for m in members)
            ),
            unit=members[0].unit,
            maps=tuple(members),
            limits=_limits(members),
            diverging=members[0].diverging,
            caption=joined(item.caption for item in members),
            facts=map_facts(members),
            controls=unique(item.control for item in members),
        )
        for (stem, row), members in keyed.items()
    )


def panel_title(item: Map, figure: MapFigure) -> str:
    """Name one of several maps by what sets it apart."""
    title = item.title[0].upper() + item.title[1:]
    owner = f", {item.head} head"
    if figure.title.endswith(owner):
        title = title.removesuffix(owner)
    rest = title.removeprefix(figure.title.removesuffix(owner)).strip(TRIM)
    return rest[0].upper() + rest[1:] if rest else title


def _only(heads: Iterable[str | None]) -> str | None:
    """Give the head that all parts belong to, if there is one."""
    found = set(heads)
    return found.pop() if len(found) == 1 else None


def _limits(maps: Sequence[Map]) -> tuple[float, float]:
    given = [item.range for item in maps]
    cells = [v for item in maps for row in item.values for v in row if v is not None]
    low = min([pair[0] for pair in given if pair] or cells or [0.0])
    high = max([pair[1] for pair in given if pair] or cells or [1.0])
    if any(pair is None for pair in given) and cells:
        low, high = min(low, *cells), max(high, *cells)
    if maps[0].diverging:
        reach = max(abs(low), abs(high)) or 1.0
        return -float(reach), float(reach)
    return (float(low), float(high)) if high > low else (low - 0.5, low + 0.5)
