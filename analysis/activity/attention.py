"""Measure `attention`: how far each attention head's read-out row drifted from the base."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.charts import curve, layer_map
from critical_phase.analysis.inference.bootstrap import shared_weights
from critical_phase.analysis.inputs import RunArrays, mean_by_question, question_count
from critical_phase.analysis.results import Curve, Map, MeasureResult
from critical_phase.analysis.series import Series, question_series
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.states.activations import sorted_steps

ABOUT = (
    "Jensen-Shannon divergence (nats, at most ln 2 = .693) between the attention row at the end of"
    " the answer and the same row of the base, per attention head; entropy of the row, mass on"
    " the first token (sink) and entropy of the rest, each entropy as a share of its largest."
    " Moved attention need not matter for the output."
)

SUMMARIES = {
    "sink_mass": ("mass on the first token", "share"),
    "entropy_rest": ("entropy without the first token", "share of the largest"),
}
"""Summaries that are shown."""


def attention(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Measure attention drift per head and the summaries per layer."""
    about = ("attention", "Attention", ABOUT, "JS divergence, sink and entropy: docs/methods.md")
    if not arrays.attention_heads:
        return MeasureResult(*about, {}, ("no attention was given: not computed",))
    weights = shared_weights(question_count(arrays.rows), settings)
    both = {head: _drift(arrays, head) for head in arrays.heads}
    drift = {head: found[0] for head, found in both.items()}
    spread = {head: found[1] for head, found in both.items()}
    maps = [_drift_map(head, drift, weights) for head in arrays.heads]
    maps += [_entropy_map(head, spread[head], weights) for head in arrays.heads]
    curves: list[Curve] = []
    for head in arrays.heads:
        more, lines = _summaries(arrays, head, weights)
        maps += more
        curves += lines
    return MeasureResult(
        *about,
        {"position": "answer_end", "draws": settings.draws, "seed": settings.seed},
        (),
        tuple(curves),
        tuple(maps),
        series=tuple(s for group in drift.values() for s in group),
        facts={"entropy": spread},
    )


def js_divergence(
    one: Float[np.ndarray, "*rest key"], two: Float[np.ndarray, "*rest key"]
) -> Float[np.ndarray, "*rest"]:
    """Return the Jensen-Shannon divergence in nats; rows are scaled to sum to one first."""
    p, q = _scaled(one), _scaled(two)
    middle = (p + q) / 2
    return np.asarray(np.maximum(0.5 * (_kl(p, middle) + _kl(q, middle)), 0.0))


def _scaled(rows: Float[np.ndarray, "*rest key"]) -> Float[np.ndarray, "*rest key"]:
    """Divide by the sum: stored rows need not sum to one exactly."""
    wide = np.asarray(rows, dtype=np.float64)
    return np.asarray(wide / np.maximum(wide.sum(axis=-1, keepdims=True), 1e-300))


def _kl(
    p: Float[np.ndarray, "*rest key"], q: Float[np.ndarray, "*rest key"]
) -> Float[np.ndarray, "*rest"]:
    """Return the sum of p ln(p / q), zero where p is zero."""
    ratio = np.where(p > 0, p / np.where(q > 0, q, 1.0), 1.0)
    return np.asarray((p * np.log(ratio)).sum(axis=-1))


def entropy(row: Float[np.ndarray, "*rest key"]) -> Float[np.ndarray, "*rest"]:
    """Return the entropy of attention rows in nats."""
    p = _scaled(row)
    return np.asarray(-(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=-1))


def normalised_entropy(
    row: Float[np.ndarray, "*rest key"], keys: Int[np.ndarray, "*rest"]
) -> Float[np.ndarray, "*rest"]:
    """Return H / ln(i + 1) at query position i, from 0: 1 for equal weights, 0 for one key.

    Args:
        row: Attention rows, padded with zeros.
        keys: Keys that each row may look at, i + 1. NaN where it is one: 0 / 0.
    """
    most = np.log(np.maximum(keys, 1))
    return np.asarray(
        np.divide(entropy(row), most, out=np.full(most.shape, np.nan), where=most > 0)
    )


def _drift(arrays: RunArrays, head: str) -> tuple[list[Series], list[Series]]:
    """Return divergence to the base and entropy of every attention head, layer by layer."""
    _, steps = sorted_steps(arrays, head)
    found, spread = [], []
    keys = np.repeat(arrays.key_length()[:, None], arrays.attention_heads, axis=1)
    for layer in (one for one in arrays.layers if one >= 0):
        each, evenness = _layer_drift(arrays, head, layer, steps, keys)
        for at in range(arrays.attention_heads):
            spread.append(
                question_series(
                    f"attention_entropy.{head}",
                    f"attention entropy, head {layer}.{at}, {head} head",
                    "share of the largest",
                    "representation",
                    steps,
                    evenness[:, at],
                    head=head,
                    layer=layer,
                    attention_head=at,
                )
            )
            found.append(
                question_series(
                    f"attention_js.{head}",
                    f"attention drift, head {layer}.{at}, {head} head",
                    "nats",
                    "representation",
                    steps,
                    each[:, at],
                    head=head,
                    layer=layer,
                    attention_head=at,
                )
            )
    return found, spread


def _layer_drift(
    arrays: RunArrays,
    head: str,
    layer: int,
    steps: Int[np.ndarray, " step"],
    keys: Int[np.ndarray, "row attention_head"],
) -> tuple[
    Float[np.ndarray, "step attention_head question"],
    Float[np.ndarray, "step attention_head question"],
]:
    """Return divergence to the base and entropy in one layer; one checkpoint is held at a time."""
    base = arrays.base_attention_row(layer)
    each, evenness = [], []
    for step in steps:
        now = arrays.attention_row_at(head, int(step), layer)
        each.append(mean_by_question(arrays.rows, js_divergence(now, base).T))
        evenness.append(mean_by_question(arrays.rows, normalised_entropy(now, keys).T))
    return np.stack(each), np.stack(evenness)


def _entropy_map(
    head: str, spread: list[Series], weights: Float[np.ndarray, "draw question"]
) -> Map:
    """Stack the entropy of all attention heads."""
    first = [float(s.value[0]) for s in spread if s.value.size]
    return layer_map(
        spread,
        weights,
        map_id=f"attention_entropy.{head}",
        title=f"Entropy of the attention row, {head} head",
        control=f"At step 0: {min(first, default=0.0):.3g} to {max(first, default=0.0):.3g} over"
        " attention heads; equal weights give 1.",
        caption="Entropy over the logarithm of the number of tokens seen, the first token"
        " included; rows are layer.attention head.",
        row_name="attention_head",
        row_labels=[f"{s.layer}.{s.attention_head}" for s in spread],
        bounds=(0.0, 1.0),
    )


def _drift_map(
    head: str, drift: Mapping[str, list[Series]], weights: Float[np.ndarray, "draw question"]
) -> Map:
    """Stack all attention heads of one adapter."""
    others = [s.value[-1] for name, group in drift.items() if name != head for s in group]
    control = (
        f"Largest at the last step in the other head: {max(others):.3g}."
        if others
        else "No second head to compare with."
    )
    return layer_map(
        drift[head],
        weights,
        map_id=f"attention_js.{head}",
        title=f"Attention drift from the base, {head} head",
        control=control + " Unchanged attention gives 0.",
        caption="Jensen-Shannon divergence of the read-out row; rows are layer.attention head.",
        row_name="attention_head",
        row_labels=[f"{s.layer}.{s.attention_head}" for s in drift[head]],
    )


def _summaries(
    arrays: RunArrays, head: str, weights: Float[np.ndarray, "draw question"]
) -> tuple[list[Map], list[Curve]]:
    """Show sink mass and entropy per attention head, and their mean per layer."""
    order, steps = sorted_steps(arrays, head)
    maps: list[Map] = []
    curves: list[Curve] = []
    stored = arrays.attention_summary(head)
    for name in stored:
        if name in SUMMARIES:
            values = stored[name]
            each = np.stack([mean_by_question(arrays.rows, values[t]) for t in order])
            del values
            maps.append(_summary_map(arrays, name, head, steps, each, weights))
            curves += _summary_curves(arrays, name, head, steps, each, weights)
    return maps, curves


def _summary_map(
    arrays: RunArrays,
    name: str,
    head: str,
    steps: Int[np.ndarray, " step"],
    each: Float[np.ndarray, "step layer attention_head question"],
    weights: Float[np.ndarray, "draw question"],
) -> Map:
    """Stack one summary of all attention heads."""
    title, unit = SUMMARIES[name]
    group = [
        question_series(
            f"{name}.{head}", f"{title}, {head} head", unit, "representation", steps,
            each[:, at, h], head=head, layer=layer, attention_head=h,
        )
        for at, layer in enumerate(layer for layer in arrays.layers if layer >= 0)
        for h in range(each.shape[2])
    ]  # fmt: skip
    first = [float(s.value[0]) for s in group]
    return layer_map(
        group,
        weights,
        map_id=f"{name}.{head}",
        title=f"{title[0].upper()}{title[1:]}, {head} head",
        control=f"At step 0: {min(first):.3g} to {max(first):.3g} over attention heads.",
        caption=f"Mean {title} per attention head; rows are layer.attention head.",
        row_name="attention_head",
        row_labels=[f"{s.layer}.{s.attention_head}" for s in group],
        bounds=(0.0, 1.0),
    )


def _summary_curves(
    arrays: RunArrays,
    name: str,
    head: str,
    steps: Int[np.ndarray, " step"],
    each: Float[np.ndarray, "step layer attention_head question"],
    weights: Float[np.ndarray, "draw question"],
) -> list[Curve]:
    """Draw the mean over attention heads, one line per layer."""
    title, unit = SUMMARIES[name]
    lines = []
    for at, layer in enumerate(layer for layer in arrays.layers if layer >= 0):
        mean = question_series(
            f"{name}.{head}", f"{title}, layer {layer}, {head} head", unit, "representation",
            steps, each[:, at].mean(axis=1), head=head, layer=layer,
        )  # fmt: skip
        lines.append(
            curve(
                mean,
                weights,
                arrays.batch_size,
                group=f"{name}.{head}",
                label=str(layer),
                caption=f"Mean {title} over attention heads of the layer.",
            )
        )
    return lines
