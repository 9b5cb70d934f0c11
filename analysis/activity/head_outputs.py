"""Measure `head_outputs`: how much each attention head writes, not only where it looks."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.activity.head_gaps import Gap, ends_of, gaps_of
from critical_phase.analysis.charts import layer_map
from critical_phase.analysis.inference.bootstrap import interval, shared_weights
from critical_phase.analysis.inputs import RunArrays, mean_by_question, question_count
from critical_phase.analysis.jumps.across_jump import COLUMNS, Window, across, window_of
from critical_phase.analysis.jumps.change_points import reference
from critical_phase.analysis.probing.random_labels import random_labels
from critical_phase.analysis.results import BOOTSTRAP, Map, MeasureResult, Table, column
from critical_phase.analysis.series import Series, question_series
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.states.activations import sorted_steps

ABOUT = (
    "Size of what each attention head gives at the end of the answer: the values it sums up,"
    " weighted by its attention (output), and what its part of the output projection makes of"
    " that and adds to the residual stream (write). A head may look hard at a token whose value"
    " is small. A large write need not matter for the answer, and opposite writes cancel."
)

NAMES = {
    "write": ("what a head writes", "units of the stream"),
    "output": ("what a head gives before its projection", "units of the values"),
}
"""Stored norms, the one that enters the ranked table first."""
RANKED = "write"

ABSENT = (
    "the output of attention heads at the end of the answer was not collected: `probe collect RUN"
    " --collect residual,attention,sparsity,head_output --overwrite` reads it"
)

MOST_ROWS = 25
"""Attention heads listed for each adapter head."""

STREAM = 41
"""Number of this measure's random stream."""


def head_outputs(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Follow the size of every attention head's output over training.

    Args:
        arrays: The run.
        settings: Seed, draws and permutations.
        done: Results of earlier measures; with change points, the jump is looked at.

    Returns:
        A map per adapter head and norm, series of the writes, the heads that changed most, and
        those that treat right answers otherwise; facts hold the latter, strongest first.
    """
    about = ("head_outputs", "What attention heads give", ABOUT, "2004.10102; docs/methods.md")
    weights = shared_weights(question_count(arrays.rows), settings)
    rng = np.random.default_rng([settings.seed, STREAM])
    random = random_labels(arrays.rows, settings.permutations, rng)
    jump = reference(done["change_points"]) if done and "change_points" in done else None
    maps: list[Map] = []
    series: list[Series] = []
    gaps: dict[str, list[Gap]] = {}
    moved: list[list[object]] = []
    for head in arrays.heads:
        order, steps = sorted_steps(arrays, head)
        stored = arrays.head_values(head)
        for name in (one for one in NAMES if one in stored):
            values = stored[name]
            group = _series(arrays, head, name, values, order, steps)
            maps.append(_map(group, weights, name))
            if name == RANKED:
                series += group
                moved += _moved(group, window_of(steps, jump), weights)
            if name == RANKED and steps.size > 1:
                ends = {name: ends_of(values, order)}
                gaps[head] = gaps_of(arrays.rows, head, ends, weights, random)
            del values
    if not maps:
        return MeasureResult(*about, {}, (ABSENT,))
    tables = [_moved_table(moved)] if moved else []
    return MeasureResult(
        *about,
        {
            "position": "answer_end",
            "permutations": settings.permutations,
            "draws": settings.draws,
            "seed": settings.seed,
        },
        () if jump is not None else ("accuracy has no jump to look across",),
        maps=tuple(maps),
        tables=(*tables, _gap_table(gaps)) if gaps else tuple(tables),
        series=tuple(series),
        facts={"gaps": gaps},
    )


def _series(
    arrays: RunArrays,
    head: str,
    name: str,
    values: Float[np.ndarray, "step layer attention_head row"],
    order: Int[np.ndarray, " step"],
    steps: Int[np.ndarray, " step"],
) -> list[Series]:
    """Average the answers of each question, for every attention head."""
    title, unit = NAMES[name]
    each = np.stack([mean_by_question(arrays.rows, values[t]) for t in order])
    return [
        question_series(
            f"head_{name}.{head}", f"size of {title}, head {layer}.{at}, {head} head", unit,
            "representation", steps, each[:, layer, at], head=head, layer=layer, attention_head=at,
        )
        for layer in range(each.shape[1])
        for at in range(each.shape[2])
    ]  # fmt: skip


def _map(group: list[Series], weights: Float[np.ndarray, "draw question"], name: str) -> Map:
    """Stack all attention heads."""
    head, first = group[0].head, [float(s.value[0]) for s in group if s.value.size]
    return layer_map(
        group,
        weights,
        map_id=f"head_{name}.{head}",
        title=f"Size of {NAMES[name][0]}, {head} head",
        control=f"At the first checkpoint: {min(first, default=0.0):.3g} to"
        f" {max(first, default=0.0):.3g} over attention heads.",
        caption="Euclidean norm at the end of the answer, mean over answers; rows are"
        " layer.attention head.",
        row_name="attention_head",
        row_labels=[f"{s.layer}.{s.attention_head}" for s in group],
    )


def _moved(
    group: list[Series], window: Window | None, weights: Float[np.ndarray, "draw question"]
) -> list[list[object]]:
    """List the attention heads whose size changed most, over the series and across the jump."""
    rows: list[tuple[float, list[object]]] = []
    for s in group:
        assert s.per_question is not None
        if s.steps.size < 2:
            continue
        change = s.per_question[-1] - s.per_question[0]
        low, high = interval(weights @ change)
        part = across(s.per_question, window, weights)
        rows.append(
            (abs(float(change.mean())),
             [s.head, s.layer, s.attention_head, float(s.value[0]), float(change.mean()),
              [float(low), float(high)], *(part.cells if part else [None] * len(COLUMNS))])
        )  # fmt: skip
    return [cells for _, cells in sorted(rows, key=lambda one: -one[0])[:MOST_ROWS]]


def _moved_table(rows: list[list[object]]) -> Table:
    """Write them down."""
    columns = [
        column("head", "head", kind="text"),
        column("layer", "layer"),
        column("attention_head", "attention head"),
        column("first", "first checkpoint", "units of the stream"),
        column("change", "change, last minus first", "units of the stream"),
        column("interval", "interval"),
        *COLUMNS,
    ]
    caption = (
        f"Mean size of what a head writes; {BOOTSTRAP}. Across the jump: from the last checkpoint"
        " before it to the first after it. Control: the largest change between checkpoints as far"
        " apart on one side of the jump. The"
        f" {MOST_ROWS} heads of the largest change are listed for each adapter head; whether and"
        " when each of all heads changed abruptly is in the ranked table."
    )
    return Table("head_writes", "Attention heads that write more or less", caption, columns, rows)


def _gap_table(gaps: Mapping[str, list[Gap]]) -> Table:
    """List the heads that treat right answers otherwise than wrong ones."""
    rows: list[list[object]] = [
        [g.head, g.layer, g.attention_head, g.first, g.change, list(g.interval), g.z, g.p]
        for group in gaps.values()
        for g in group[:MOST_ROWS]
    ]
    tests = ", ".join(
        f"{sum(g.p <= 0.05 for g in group)} of {len(group)} in the {head} head"
        for head, group in gaps.items()
    )
    columns = [
        column("head", "head", kind="text"),
        column("layer", "layer"),
        column("attention_head", "attention head"),
        column("first", "right minus wrong, first checkpoint", "units of the stream"),
        column("change", "change, last minus first", "units of the stream"),
        column("interval", "interval"),
        column("z", "over its spread by chance"),
        column("p", "p", kind="p"),
    ]
    caption = (
        "Size of what a head writes on the right answer minus that on the wrong answers of the"
        f" same question, and its change over training; {BOOTSTRAP}. Control: a candidate of each"
        " question named right at random; p is that of the largest over all attention heads"
        f" (max-T). At p ≤ .05: {tests}. The strongest {MOST_ROWS} of each are listed."
    )
    return Table(
        "head_write_gaps", "Writing on right against wrong answers", caption, columns, rows
    )
