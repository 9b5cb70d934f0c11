"""Measure `head_importance`: on which attention heads the margin depends, and since when."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.charts import layer_map, numbers
from critical_phase.analysis.inference.bootstrap import interval, shared_weights
from critical_phase.analysis.inputs import RunArrays, mean_by_question, question_count
from critical_phase.analysis.jumps.across_jump import COLUMNS, Window, across, window_of
from critical_phase.analysis.jumps.change_points import reference
from critical_phase.analysis.results import BOOTSTRAP, Curve, Map, MeasureResult, Table, column
from critical_phase.analysis.series import Series, question_series
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.states.activations import sorted_steps

ABOUT = (
    "Gradient of each question's margin (right minus best wrong log-likelihood of one adapter"
    " head) with respect to a gate of 1 on each attention head: its absolute value averaged over"
    " questions (importance) and its mean (effect; positive: the head pulls towards the right"
    " answer). First order only: taking a head out may do more or less, and heads can stand in"
    " for each other. It grows with the margin itself."
)

ABSENT = (
    "the importance of attention heads was not collected: `probe collect RUN --collect"
    " residual,attention,sparsity,head_importance --overwrite` reads it, with a second pass"
)

MOST_ROWS = 25
"""Attention heads listed for each adapter head."""

STREAM = 42
"""Number of this measure's random stream."""


def head_importance(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Follow how much the margin depends on every attention head.

    Args:
        arrays: The run.
        settings: Seed, draws and permutations.
        done: Results of earlier measures; with change points, the jump is looked at.

    Returns:
        Maps of importance and effect, the number of heads that carry the importance, series of
        the importance, and a table; facts hold its rows by adapter head, largest first.
    """
    about = ("head_importance", "Attention heads that carry the margin", ABOUT,
             "1905.10650; docs/methods.md")  # fmt: skip
    weights = shared_weights(question_count(arrays.rows), settings)
    rng = np.random.default_rng([settings.seed, STREAM])
    flips = rng.choice([-1.0, 1.0], (settings.permutations, question_count(arrays.rows)))
    jump = reference(done["change_points"]) if done and "change_points" in done else None
    curves: list[Curve] = []
    maps: list[Map] = []
    series: list[Series] = []
    rows: dict[str, list[list[object]]] = {}
    for head in arrays.heads:
        stored = arrays.head_values(head)
        if "importance" not in stored:
            continue
        order, steps = sorted_steps(arrays, head)
        values = stored["importance"]
        each = np.stack([mean_by_question(arrays.rows, values[t]) for t in order])
        del values
        size, signed = _series(head, steps, np.abs(each)), _series(head, steps, each, signed=True)
        series += size
        maps += [_map(size, weights), _map(signed, weights)]
        curves.append(_carriers(head, size, weights, arrays.batch_size))
        rows[head] = _rows(size, signed, window_of(steps, jump), weights, flips)
    if not rows:
        return MeasureResult(*about, {}, (ABSENT,))
    return MeasureResult(
        *about,
        {"permutations": settings.permutations, "draws": settings.draws, "seed": settings.seed},
        () if jump is not None else ("accuracy has no jump to look across",),
        tuple(curves),
        tuple(maps),
        (_table(rows),),
        series=tuple(series),
        facts={"importance": rows},
    )


def _series(
    head: str,
    steps: Int[np.ndarray, " step"],
    each: Float[np.ndarray, "step layer attention_head question"],
    *,
    signed: bool = False,
) -> list[Series]:
    """Name the values of every attention head."""
    quantity, word = ("head_effect", "effect") if signed else ("head_importance", "importance")
    return [
        question_series(
            f"{quantity}.{head}", f"{word} of head {layer}.{at} for the margin, {head} head",
            "nats", "representation", steps, each[:, layer, at],
            head=head, layer=layer, attention_head=at,
        )
        for layer in range(each.shape[1])
        for at in range(each.shape[2])
    ]  # fmt: skip


def _map(group: list[Series], weights: Float[np.ndarray, "draw question"]) -> Map:
    """Stack all attention heads."""
    quantity, _, head = group[0].quantity.partition(".")
    signed = quantity == "head_effect"
    first = [float(s.value[0]) for s in group if s.value.size]
    return layer_map(
        group,
        weights,
        map_id=group[0].quantity,
        title=f"{'Effect' if signed else 'Importance'} of attention heads for the margin,"
        f" {head} head",
        control=f"At the first checkpoint: {min(first, default=0.0):.3g} to"
        f" {max(first, default=0.0):.3g} over attention heads.",
        caption="Gradient of the margin with respect to a gate on the head, "
        + ("mean over questions" if signed else "absolute value, mean over questions")
        + "; rows are layer.attention head.",
        row_name="attention_head",
        row_labels=[f"{s.layer}.{s.attention_head}" for s in group],
        diverging=signed,
    )


def _carriers(
    head: str, group: list[Series], weights: Float[np.ndarray, "draw question"], batch_size: int
) -> Curve:
    """Draw over how many heads the importance is spread: (sum I)^2 / sum I^2."""
    steps = group[0].steps
    tables = np.stack([s.per_question for s in group if s.per_question is not None])
    value, low, high = [], [], []
    for at in range(steps.size):
        value.append(spread_over(tables[:, at].mean(axis=1)[None])[0])
        ends = interval(spread_over(weights @ tables[:, at].T))
        low.append(float(ends[0]))
        high.append(float(ends[1]))
    return Curve(
        f"head_importance_spread.{head}",
        f"Attention heads that carry the importance, {head} head",
        "attention heads",
        "head_importance_spread",
        head,
        [int(s) for s in steps],
        [int(s) * batch_size for s in steps],
        numbers(np.array(value)),
        "Participation ratio of the importance over all attention heads: 1 where one head has"
        " all of it.",
        tables.shape[2],
        head,
        low=numbers(np.array(low)),
        high=numbers(np.array(high)),
        interval=BOOTSTRAP,
        references=[{"label": "equal importance of all heads", "value": float(len(group))}],
    )


def spread_over(importance: Float[np.ndarray, "draw head"]) -> Float[np.ndarray, " draw"]:
    """Return the participation ratio (sum I)^2 / sum I^2 over heads; NaN where all are 0."""
    total, squares = importance.sum(axis=1) ** 2, (importance**2).sum(axis=1)
    return np.asarray(
        np.divide(total, squares, out=np.full(total.shape, np.nan), where=squares > 0)
    )


def _rows(
    size: list[Series],
    signed: list[Series],
    window: Window | None,
    weights: Float[np.ndarray, "draw question"],
    flips: Float[np.ndarray, "flip question"],
) -> list[list[object]]:
    """Describe every attention head, the most important at the last checkpoint first."""
    tables = [s.per_question for s in signed if s.per_question is not None]
    p = sign_test(np.stack([table[-1] for table in tables], axis=1), flips)
    found = []
    for one, two, chance in zip(size, signed, p, strict=True):
        assert one.per_question is not None
        assert two.per_question is not None
        low, high = interval(weights @ one.per_question[-1])
        effect = interval(weights @ two.per_question[-1])
        change = one.per_question[-1] - one.per_question[0]
        moved = interval(weights @ change)
        part = across(one.per_question, window, weights)
        found.append(
            [one.head, one.layer, one.attention_head,
             float(one.value[-1]), [float(low), float(high)],
             float(two.value[-1]), [float(end) for end in effect], float(chance),
             float(change.mean()), [float(end) for end in moved],
             *(part.cells if part else [None] * len(COLUMNS))]
        )  # fmt: skip
    return sorted(found, key=lambda cells: -cells[3])


def sign_test(
    values: Float[np.ndarray, "question head"], flips: Float[np.ndarray, "flip question"]
) -> Float[np.ndarray, " head"]:
    """Return p-values of means over questions under random signs, of the largest (max-T).

    Args:
        values: One number per question and attention head.
        flips: Signs, 1 and -1, one line per draw; a question has one sign for all heads.
    """
    spread = np.sqrt((values**2).sum(axis=0))
    scaled = np.divide(values, spread, out=np.zeros_like(values), where=spread > 0)
    most = np.abs(flips @ scaled).max(axis=1)
    seen = np.abs(scaled.sum(axis=0))
    return np.asarray((1 + (most[:, None] >= seen - 1e-12).sum(axis=0)) / (1 + len(most)))


def _table(rows: Mapping[str, list[list[object]]]) -> Table:
    """List the most important of each adapter head."""
    columns = [
        column("head", "head", kind="text"),
        column("layer", "layer"),
        column("attention_head", "attention head"),
        column("importance", "importance, last checkpoint", "nats"),
        column("interval", "interval"),
        column("effect", "effect, last checkpoint", "nats"),
        column("effect_interval", "interval"),
        column("p", "p of the effect", kind="p"),
        column("change", "change of importance, last minus first", "nats"),
        column("change_interval", "interval"),
        *COLUMNS,
    ]
    caption = (
        f"Importance and effect of attention heads for the margin; {BOOTSTRAP}. Control of the"
        " effect: each question's sign drawn at random; p is that of the largest over all heads"
        " (max-T). Across the jump: change of importance from the last checkpoint before it to"
        " the first after it; its control is the largest change between checkpoints as far apart"
        f" on one side of the jump. The {MOST_ROWS} most important of each adapter head are"
        f" listed, of {', '.join(f'{len(group)} ({head})' for head, group in rows.items())}."
    )
    listed = [cells for group in rows.values() for cells in group[:MOST_ROWS]]
    return Table("head_importance", "Importance of attention heads", caption, columns, listed)
