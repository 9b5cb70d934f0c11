"""Measure `attention_spans`: what kind of token each attention head looks at, on which answers."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.activity.head_gaps import Ends, Gap, ends_of, gaps_of
from critical_phase.analysis.charts import layer_map
from critical_phase.analysis.inference.bootstrap import shared_weights
from critical_phase.analysis.inputs import RunArrays, mean_by_question, question_count
from critical_phase.analysis.probing.random_labels import random_labels
from critical_phase.analysis.results import Map, MeasureResult, Table, column
from critical_phase.analysis.series import question_series
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.states.activations import sorted_steps

ABOUT = (
    "Share of the attention at the end of the answer that goes to the question, to the answer"
    " itself, to its last token, and to tokens that followed an earlier copy of the last token"
    " (induction). The table asks whether a head looks elsewhere on right answers than on wrong"
    " ones of the same question, and whether training changed that. Where a head looks need not"
    " matter for the output."
)

SPANS = {
    "sink_mass": "first token",
    "question_mass": "question",
    "answer_mass": "answer before its last token",
    "self_mass": "last token",
    "induction_mass": "induction",
}
"""Stored masses that are compared, and the kind of token each is on."""

MAPPED = ("question_mass", "answer_mass", "self_mass", "induction_mass")
"""Masses shown per layer here; the sink is shown per attention head beside the drift."""

MOST_ROWS = 25
"""Attention heads listed for each adapter head."""


def attention_spans(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Show masses per layer and compare them between right and wrong answers.

    Args:
        arrays: The run.
        settings: Seed, draws and permutations.
        done: Results of earlier measures; not needed here.

    Returns:
        Maps of masses, and a table of the attention heads that treat right answers differently;
        facts hold all of them by adapter head, strongest first.
    """
    about = ("attention_spans", "Attention by kind of token", ABOUT, "docs/methods.md")
    weights = shared_weights(question_count(arrays.rows), settings)
    random = random_labels(
        arrays.rows, settings.permutations, np.random.default_rng([settings.seed, 40])
    )
    maps: list[Map] = []
    gaps: dict[str, list[Gap]] = {}
    for head in arrays.heads:
        order, steps = sorted_steps(arrays, head)
        stored = arrays.attention_summary(head) if arrays.attention_heads else {}
        names = [name for name in SPANS if name in stored]
        if not names or steps.size < 2:
            continue
        ends: dict[str, Ends] = {}
        for name in names:  # a mass of all checkpoints is large: one is held at a time
            values = stored[name]
            if name in MAPPED and np.any(values):
                maps.append(_map(arrays, head, name, values, order, steps, weights))
            ends[name] = ends_of(values, order)
            del values
        gaps[head] = gaps_of(arrays.rows, head, ends, weights, random)
    if not gaps:
        return MeasureResult(*about, {}, ("no attention was given: not computed",))
    return MeasureResult(
        *about,
        {"permutations": settings.permutations, "draws": settings.draws, "seed": settings.seed},
        (),
        (),
        tuple(maps),
        (_table(gaps),),
        facts={"gaps": gaps},
    )


def _map(
    arrays: RunArrays,
    head: str,
    name: str,
    values: Float[np.ndarray, "step layer attention_head row"],
    order: Int[np.ndarray, " step"],
    steps: Int[np.ndarray, " step"],
    weights: Float[np.ndarray, "draw question"],
) -> Map:
    """Average one mass over the attention heads of each layer."""
    layers = [layer for layer in arrays.layers if layer >= 0]
    title = f"attention to the {SPANS[name]}" if name != "induction_mass" else "induction attention"
    group = [
        question_series(
            f"{name}.{head}", f"{title}, layer {layer}, {head} head", "share of attention",
            "representation", steps,
            np.stack([mean_by_question(arrays.rows, values[t, at].mean(axis=0)) for t in order]),
            head=head, layer=layer,
        )
        for at, layer in enumerate(layers)
    ]  # fmt: skip
    first = [float(s.value[0]) for s in group]
    return layer_map(
        group,
        weights,
        map_id=f"{name}.{head}",
        title=f"{title[0].upper()}{title[1:]}, {head} head",
        control=f"At step {int(steps[0])}: {min(first):.3g} to {max(first):.3g} over layers.",
        caption="Mean over the attention heads of a layer and over all answers.",
    )


def _table(gaps: Mapping[str, list[Gap]]) -> Table:
    """List the strongest of each adapter head."""
    rows: list[list[object]] = [
        [g.head, SPANS[g.span], g.layer, g.attention_head, g.first, g.change, list(g.interval),
         g.z, g.p]
        for group in gaps.values()
        for g in group[:MOST_ROWS]
    ]  # fmt: skip
    tests = ", ".join(
        f"{sum(g.p <= 0.05 for g in group)} of {len(group)} in the {head} head"
        for head, group in gaps.items()
    )
    columns = [
        column("head", "head", kind="text"),
        column("span", "attention to", kind="text"),
        column("layer", "layer"),
        column("attention_head", "attention head"),
        column("first", "right minus wrong, first step", "share"),
        column("change", "change, last minus first", "share"),
        column("interval", "interval"),
        column("z", "over its spread by chance"),
        column("p", "p", kind="p"),
    ]
    caption = (
        "Attention to a kind of token on the right answer minus that on the wrong answers of the"
        " same question, and its change over training: last minus first checkpoint, 95 % question"
        " bootstrap. Control: a candidate of each question named right at random; p is that of"
        f" the largest over all attention heads and kinds. At p ≤ .05: {tests}. The strongest"
        f" {MOST_ROWS} of each are listed."
    )
    return Table(
        "attention_gaps", "Attention on right against wrong answers", caption, columns, rows
    )
