"""The sections of a page, in reading order, and how their figures are put together.

To give a measure its own place, add one line to `SECTIONS`. A measure that is not
listed is still shown, after the others, under its own title.
"""

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
from critical_phase.reports.elements import Curve, Map, Measure
from critical_phase.reports.style import TRIM, slug

SECTIONS = (
    (
        "curves",
        "Learning curves",
        "How often the right answer wins, and by how much, as the heads see more examples. Four "
        "scores: likra is L+ minus L-, sft is L+ alone, base_likra is L0 minus L-, pos_base is L+ "
        "minus L0 (log-likelihood under the positive head, the negative head, the base).",
    ),
    (
        "change_points",
        "Is it a jump?",
        "Whether each curve changes at one point, over a ramp, or not abruptly at all.",
    ),
    (
        "changes",
        "What changed, ranked",
        "Every quantity that changed abruptly, the least likely under a smooth curve first, and "
        "whether it moved before or after accuracy.",
    ),
    (
        "second_scoring",
        "Is it above the noise?",
        "How far score changes stand above the noise of computing them, from scoring the same "
        "checkpoints twice.",
    ),
    (
        "collapse",
        "Does the change only grow?",
        "Whether an early change of the scores, made as large as the last one, would already give "
        "the same accuracy.",
    ),
    (
        "decomposition",
        "Which head gives the gain",
        "What each head adds to the base model's accuracy alone, and what only both together add.",
    ),
    (
        "normalisations",
        "Score rules and question-blind controls",
        "Whether the result depends on how scores are compared (sum, per character, per token, per "
        "byte, PMI), and how well answers can be told apart without their question.",
    ),
    (
        "baselines",
        "Surface baselines",
        "What can be guessed from the wording of the answers, and whether the heads' score changes "
        "follow it.",
    ),
    (
        "difficulty",
        "Easy and hard questions",
        "Which questions are learned, and when, by how sure the base model was before training.",
    ),
    (
        "calibration",
        "Calibration",
        "Whether the score of the chosen answer, read as a probability, fits how often it is "
        "right.",
    ),
    (
        "weight_sweep",
        "Weight of the negative head",
        "What happens to accuracy when the negative head counts for less, or for more, than the "
        "first term.",
    ),
    (
        "side_effects",
        "Side effects",
        "What else training changes: ordinary text, another task, the size and the noise of the "
        "gradient.",
    ),
    (
        "linear_probes",
        "Linear probes",
        "How well a straight line through the activations tells right from wrong. A probe shows "
        "what can be read out, not what the model uses.",
    ),
    (
        "readout_gap",
        "Knowing and saying",
        "Whether the activations tell the right answer before the scores do.",
    ),
    (
        "step_transfer",
        "Probes carried between steps",
        "Whether a probe of one checkpoint still reads another, and how far its direction turns.",
    ),
    (
        "probe_confirmation",
        "Other kinds of probe",
        "Whether probes of other kinds, and a code length, agree with the ones above.",
    ),
    (
        "similarity",
        "Similarity of representations",
        "How much the geometry of the activations stays the same from step to step.",
    ),
    (
        "movement",
        "What the movement is made of",
        "Whether hidden states moved by one vector, by question, or so that right answers part "
        "from wrong ones, and whether both heads move the same way.",
    ),
    (
        "geometry",
        "Forms of similarity",
        "The last step against the base in every form of similarity, each beside what unrelated "
        "states would give.",
    ),
    (
        "attention",
        "Attention",
        "Where each attention head looks when it reads the end of an answer.",
    ),
    (
        "attention_moves",
        "Attention heads that moved",
        "Which attention heads changed abruptly, how much and at which step.",
    ),
    (
        "attention_spans",
        "Attention by kind of token",
        "Whether attention goes to the question or to the answer, and whether a head looks "
        "elsewhere on right answers than on wrong ones.",
    ),
    (
        "sparsity",
        "Sparsity",
        "Whether few or many neurons carry the activation.",
    ),
    (
        "sparsity_difficulty",
        "Sparsity against difficulty",
        "Whether states are sparser because a question is hard, or because training changed them.",
    ),
    (
        "state_rank",
        "Directions of the states",
        "Over how many directions the states of different questions spread.",
    ),
    (
        "weights",
        "Weights",
        "How far, and in which direction, the adapters moved.",
    ),
    (
        "weight_spaces",
        "Spaces and turns of the updates",
        "Which directions the updates write to, whether both heads use the same ones, and where "
        "the path of the weights turns.",
    ),
    (
        "intruders",
        "Intruder dimensions",
        "Whether the updates bring leading directions that the base weights do not have.",
    ),
    (
        "instability",
        "Signs of instability",
        "Spikes of loss and gradient, sharp turns and collapsing attention, and whether they fall "
        "on the jump.",
    ),
    (
        "control_runs",
        "Control runs",
        "How much of the gain other trainings reach that differ in one planned thing: other "
        "negatives, or a lower learning rate.",
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
    "weight": "weight w",
    "size": "size of the change",
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
        charts=charts(name, found.curves) if found else (),
        maps=map_figures(name, found.maps) if found else (),
    )


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
