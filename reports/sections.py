"""The sections of a page, in reading order, and how their figures are put together.

To give a measure its own place, add one line to `SECTIONS`. A measure that is not
listed is still shown, after the others, under its own title.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from critical_phase.reports.elements import Curve, Map, Measure
from critical_phase.reports.style import TRIM, number, slug, words

SECTIONS = (
    (
        "curves",
        "Learning curves",
        "How often the right answer wins, and by how much, as the heads see more examples.",
    ),
    (
        "change_points",
        "Is it a jump?",
        "Whether each curve changes at one point, over a ramp, or not abruptly at all.",
    ),
    (
        "changes",
        "What changed, ranked",
        "Every quantity that changed, the strongest first, and whether it moved before or after "
        "accuracy.",
    ),
    (
        "linear_probes",
        "Linear probes",
        "How well a straight line through the activations tells right from wrong. A probe shows "
        "what can be read out, not what the model uses.",
    ),
    (
        "similarity",
        "Similarity of representations",
        "How much the geometry of the activations stays the same from step to step.",
    ),
    (
        "attention",
        "Attention",
        "Where each attention head looks when it reads the end of an answer.",
    ),
    (
        "sparsity",
        "Sparsity",
        "Whether few or many neurons carry the activation.",
    ),
    (
        "weights",
        "Weights",
        "How far, and in which direction, the adapters moved.",
    ),
    (
        "tokens",
        "One question, token by token",
        "The candidates of one question under both heads, at the current step.",
    ),
)
"""Measure, title, introduction."""

OPEN_MAPS = 6
"""Map figures of a measure that are shown at once; the rest unfolds."""

ROW_NAMES = {
    "layer": "layer",
    "attention_head": "attention head",
    "module": "module",
    "step": "step",
}


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
    def wide(self) -> bool:
        """Whether one head has several maps, which need the whole width."""
        heads = [item.head for item in self.maps]
        return any(heads.count(head) > 1 for head in heads)


@dataclass(frozen=True, slots=True)
class Section:
    """One measure on the page, or a plain note that it is missing."""

    id: str
    measure: str
    title: str
    intro: str
    found: Measure | None
    charts: tuple[Chart, ...]
    maps: tuple[MapFigure, ...]

    @property
    def open_charts(self) -> tuple[Chart, ...]:
        """Charts shown at once: those whose numbers no map shows."""
        return tuple(chart for chart in self.charts if not self._mapped(chart))

    @property
    def open_maps(self) -> tuple[MapFigure, ...]:
        """Maps shown at once."""
        return self.maps[:OPEN_MAPS]

    @property
    def more_charts(self) -> tuple[Chart, ...]:
        """Charts by layer that repeat a map, with intervals."""
        return tuple(chart for chart in self.charts if self._mapped(chart))

    @property
    def more_maps(self) -> tuple[MapFigure, ...]:
        """Maps that unfold on request."""
        return self.maps[OPEN_MAPS:]

    def _mapped(self, chart: Chart) -> bool:
        stems = {item.id.split(".")[0] for figure in self.maps for item in figure.maps}
        return chart.layered and chart.curves[0].id.split(".")[0] in stems


def sections(measures: dict[str, Measure]) -> tuple[Section, ...]:
    """Arrange all measures in reading order; a missing one keeps its place."""
    listed = [name for name, _, _ in SECTIONS]
    extra = [(name, found.title, "") for name, found in measures.items() if name not in listed]
    return tuple(
        _section(name, title, intro, measures.get(name)) for name, title, intro in SECTIONS
    ) + tuple(_section(name, title, intro, measures[name]) for name, title, intro in extra)


def _section(name: str, title: str, intro: str, found: Measure | None) -> Section:
    return Section(
        id=slug(name),
        measure=name,
        title=title,
        intro=intro,
        found=found,
        charts=_charts(name, found.curves) if found else (),
        maps=_map_figures(name, found.maps) if found else (),
    )


def _charts(measure: str, curves: Sequence[Curve]) -> tuple[Chart, ...]:
    layered = {curve.group for curve in curves if curve.layer is not None}
    keyed: dict[tuple[str, str | None], list[Curve]] = {}
    for curve in curves:
        head = curve.head if curve.group in layered else None
        keyed.setdefault((curve.group, head), []).append(curve)
    return tuple(
        Chart(
            id=slug(f"{measure} {group}" + (f" {head}" if head and head not in group else "")),
            title=_title([curve.title for curve in members], group, head),
            unit=members[0].unit,
            head=head,
            layered=group in layered,
            curves=tuple(members),
            caption=_joined(curve.caption for curve in members),
            facts=_chart_facts(members),
        )
        for (group, head), members in keyed.items()
    )


def _map_figures(measure: str, maps: Sequence[Map]) -> tuple[MapFigure, ...]:
    keyed: dict[tuple[str, str], list[Map]] = {}
    for item in maps:
        keyed.setdefault((item.id.split(".")[0], item.row_name), []).append(item)
    stems = [stem for stem, _ in keyed]
    return tuple(
        MapFigure(
            id=slug(f"{measure} {stem} map" + (f" {row}" if stems.count(stem) > 1 else "")),
            title=_title([item.title for item in members], stem, None),
            unit=members[0].unit,
            maps=tuple(members),
            limits=_limits(members),
            diverging=members[0].diverging,
            caption=_joined(item.caption for item in members),
            facts=_map_facts(members),
            controls=_unique(item.control for item in members),
        )
        for (stem, row), members in keyed.items()
    )


def panel_title(item: Map, figure: MapFigure) -> str:
    """Name one of several maps by what sets it apart."""
    title = item.title[0].upper() + item.title[1:]
    rest = title.removeprefix(figure.title).strip(TRIM)
    return rest[0].upper() + rest[1:] if rest else title


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


def _title(titles: Sequence[str], fallback: str, head: str | None) -> str:
    """Name a figure by the words its parts share at the start."""
    parts = [title.split() for title in titles]
    common = []
    for group in zip(*parts, strict=False):
        if len(set(group)) > 1:
            break
        common.append(group[0])
    while common and common[-1].lower().strip(TRIM) in {
        "",
        "of",
        "at",
        "in",
        "by",
        "the",
        "layer",
    }:
        common.pop()
    text = " ".join(common).strip(TRIM)
    if text.count("(") > text.count(")"):
        text = text.rsplit("(", 1)[0].strip(TRIM)
    text = text if len(text) > 2 else words(fallback)
    text = text[0].upper() + text[1:]
    return f"{text}, {head} head" if head and head not in text else text


def _joined(captions: Iterable[str], limit: int = 3) -> str:
    texts = _unique(captions)
    rest = f" (And {len(texts) - limit} more, in the data table.)" if len(texts) > limit else ""
    return " ".join(texts[:limit]) + rest


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.strip() for text in texts if text.strip()))


def _chart_facts(curves: Sequence[Curve]) -> str:
    return _facts(
        curves[0].unit,
        {curve.n for curve in curves if curve.n},
        _unique(curve.interval or "" for curve in curves if curve.low is not None),
        _unique(f"{label} {number(value)}" for c in curves for label, value in c.references),
    )


def _map_facts(maps: Sequence[Map]) -> str:
    return _facts(
        maps[0].unit,
        {item.n for item in maps if item.n},
        _unique(item.interval or "" for item in maps),
        (),
    )


def _facts(unit: str, sizes: set[int], bands: Sequence[str], lines: Sequence[str]) -> str:
    """State unit, n, kind of interval and level lines in one line."""
    span = str(min(sizes)) if len(sizes) == 1 else f"{min(sizes)} to {max(sizes)}" if sizes else ""
    parts = [
        f"Unit: {unit or 'none'}.",
        f"n = {span} questions." if span else "n: see the caption.",
        f"Band: {', '.join(bands)}." if bands else "No interval is given.",
        f"Level lines: {', '.join(lines)}." if lines else "",
    ]
    return " ".join(part for part in parts if part)
