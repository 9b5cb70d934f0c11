"""The sections of a page, in groups and in reading order.

To give a measure its own place, add one line to `SECTIONS`; its neighbours decide its
group. A measure that is not listed is still shown, after the others, under its own title.
"""

from collections.abc import Sequence
from itertools import groupby

from critical_phase.reports.elements import Measure
from critical_phase.reports.panels import charts, map_figures
from critical_phase.reports.section import Section
from critical_phase.reports.style import slug

SECTIONS = (
    (
        "curves",
        "Learning curves",
        "How often the right answer wins, and by how much, as the heads see more examples. Four "
        "scores: likra is L+ minus L-, sft is L+ alone, base_likra is L0 minus L-, pos_base is L+ "
        "minus L0 (log-likelihood under the positive head, the negative head, the base).",
    ),
    (
        "margins",
        "Question by question",
        "How the margins of single questions spread and move: whether all move together, or each "
        "turns at a step of its own.",
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
        "difficulty",
        "Easy and hard questions",
        "Which questions are learned, and when, by how sure the base model was before training.",
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
        "tokens",
        "One question, token by token",
        "The candidates of one question under both heads, at the current step.",
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
        "calibration",
        "Calibration",
        "Whether the score of the chosen answer, read as a probability, fits how often it is "
        "right.",
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
        "readout_displacement",
        "Movement that the read-out sees",
        "How far the logits moved that hidden states give, beside changes of equal size in random "
        "directions and between questions.",
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
        "head_outputs",
        "What attention heads give",
        "How much each attention head writes into the residual stream at the end of an answer, "
        "which also depends on the values of the tokens it looks at.",
    ),
    (
        "head_importance",
        "Attention heads that carry the margin",
        "How much the margin would change if an attention head were turned up or down a little.",
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
        "local_learning",
        "Local learning coefficient",
        "How fast the training loss rises around each checkpoint, and where a checkpoint is no "
        "minimum at all.",
    ),
    (
        "curvature",
        "Fisher trace and sharpness",
        "How strongly the answers depend on the adapted weights, and how curved the training loss "
        "is.",
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
        "interventions",
        "Is it the cause?",
        "How much of the margin's change comes, or goes, when one thing is put into the early "
        "model or taken out of the late one, beside controls of the same size.",
    ),
    (
        "control_runs",
        "Control runs",
        "How much of the gain other trainings reach that differ in one planned thing: other "
        "negatives, or a lower learning rate.",
    ),
)
"""Measure, title, introduction, in reading order."""

GROUPS = (
    ("Evidence: behaviour", "curves"),
    ("Evidence: likelihood", "second_scoring"),
    ("Inside: probes", "linear_probes"),
    ("Inside: similarity", "similarity"),
    ("Inside: attention", "attention"),
    ("Inside: sparsity", "sparsity"),
    ("Inside: weights", "weights"),
    ("Causes", "interventions"),
    ("Controls", "control_runs"),
)
"""Name of a group, and the measure of `SECTIONS` that it begins with.

A group whose first measure is not listed is not shown.
"""

OTHERS = "Other measures"
"""Group of measures that `SECTIONS` does not list."""

OPEN = {
    "curves", "margins", "change_points", "changes", "tokens", "decomposition", "linear_probes",
    "similarity", "attention", "sparsity", "weights", "interventions", "control_runs",
}  # fmt: skip
"""Sections that start unfolded."""


def sections(measures: dict[str, Measure]) -> tuple[Section, ...]:
    """Arrange all measures in reading order; a missing one keeps its place."""
    starts = {first: group for group, first in GROUPS}
    group, arranged = GROUPS[0][0], []
    for name, title, intro in SECTIONS:
        group = starts.get(name, group)
        arranged.append(_section(name, title, intro, group, measures.get(name)))
    listed = {name for name, _, _ in SECTIONS}
    arranged += [
        _section(name, found.title, "", OTHERS, found)
        for name, found in measures.items()
        if name not in listed
    ]
    return tuple(arranged)


def grouped(arranged: Sequence[Section]) -> list[tuple[str, list[Section]]]:
    """List the sections by group, both in reading order."""
    return [(name, list(members)) for name, members in groupby(arranged, lambda s: s.group)]


def _section(name: str, title: str, intro: str, group: str, found: Measure | None) -> Section:
    return Section(
        id=slug(name),
        measure=name,
        title=title,
        intro=intro,
        group=group,
        found=found,
        charts=charts(name, found.curves) if found else (),
        maps=map_figures(name, found.maps) if found else (),
        open=found is not None and (name in OPEN or group == OTHERS),
    )
