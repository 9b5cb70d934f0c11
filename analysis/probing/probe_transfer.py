"""Knowing and saying: does the base's own probe still read the answer after training?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.charts import layer_label
from critical_phase.analysis.inference.bootstrap import interval
from critical_phase.analysis.inputs import RunArrays, question_count
from critical_phase.analysis.probing.chosen_path import half_weights
from critical_phase.analysis.probing.linear_probe import (
    expected_hits,
    expected_pairs,
    loqo_predictions,
    rotate,
    transfer_predictions,
)
from critical_phase.analysis.probing.probe_choice import Choice, confirmatory
from critical_phase.analysis.probing.question_blocks import choices, contrasts, groups_of
from critical_phase.analysis.results import Table, column
from critical_phase.analysis.scores.curves import base_scores, sorted_scores
from critical_phase.analysis.scores.margin import right_pairs
from critical_phase.analysis.states.activations import (
    base_scale,
    base_states,
    sorted_steps,
    state_at,
)


@dataclass(frozen=True, slots=True)
class Transfer:
    """One head at the layer whose probe is best on the questions with even numbers."""

    head: str
    layer: int
    base: float
    """Top-1 of the probe at the base."""
    last: float
    """Top-1 of the probe at the last step."""
    rise: float
    """Last minus base."""
    rise_interval: tuple[float, float]
    moved: float
    """Top-1 of the base's probe at the last step."""
    loss_interval: tuple[float, float]
    """Interval of what a probe trained at the last step gains over the base's."""
    pairs_probe: tuple[float, float]
    """Pairs ranked right by the probe, at the base and at the last step."""
    pairs_rise: float
    """Right pairs at the last step minus at the base: finer than top-1."""
    pairs_rise_interval: tuple[float, float]
    pairs_likelihood: tuple[float, float]
    """Pairs ranked right by the scores, at the base and at the last step."""


def transfer(
    arrays: RunArrays,
    head: str,
    choice: Choice,
    weights: Float[np.ndarray, "draw question"],
    weight: float,
) -> Transfer:
    """Compare the probes of base and last step, and carry the first over to the second.

    Args:
        arrays: The run.
        head: Trained head.
        choice: Layer and penalty of both probes.
        weights: Question resamples.
        weight: Weight of the negative head in a score.

    Returns:
        Top-1 and pairs, with intervals over questions.
    """
    rows, groups = arrays.rows, groups_of(arrays.rows)
    right = choices(groups, rows.correct.astype(np.float64))
    base = base_states(arrays, choice.layer)
    scale = base_scale(rows, base)
    now = state_at(arrays, head, choice.layer, int(sorted_steps(arrays, head)[1][-1]))
    first, last = (
        loqo_predictions(rotate(contrasts(groups, x), len(x)), groups, right, [choice.penalty])
        for x in (base / scale, now / scale)
    )
    carried = transfer_predictions(
        contrasts(groups, base / scale), [now / scale], groups, right, choice.penalty
    )[:, :, None]
    keep = confirmatory(question_count(rows))
    weights = half_weights(weights, keep)
    before, after, moved = (
        expected_hits(guess, groups, right)[0, keep, 0] for guess in (first, last, carried)
    )
    rise, loss = (interval(weights @ (after - x)) for x in (before, moved))
    pairs = [expected_pairs(guess, groups, right)[0, keep, 0] for guess in (first, last)]
    gained = interval(weights @ (pairs[1] - pairs[0]))
    return Transfer(
        head,
        choice.layer,
        float(before.mean()),
        float(after.mean()),
        float((after - before).mean()),
        (float(rise[0]), float(rise[1])),
        float(moved.mean()),
        (float(loss[0]), float(loss[1])),
        (float(pairs[0].mean()), float(pairs[1].mean())),
        float((pairs[1] - pairs[0]).mean()),
        (float(gained[0]), float(gained[1])),
        _likelihood_pairs(arrays, head, weight),
    )


def _likelihood_pairs(arrays: RunArrays, head: str, weight: float) -> tuple[float, float]:
    """Return the share of pairs that the scores rank right at the base and at the end."""
    base = base_scores(arrays)
    _, scores = sorted_scores(arrays, head)
    last = scores[-1] if head == "positive" else base - weight * scores[-1]
    before, after = (float(right_pairs(arrays.rows, s[None]).mean()) for s in (base, last))
    return before, after


def transfer_table(found: Sequence[Transfer]) -> Table:
    """List what the base's own probe reads at the last step, beside the likelihoods."""
    rows = [
        [one.head, layer_label(one.layer), one.base, one.last, one.rise, *one.rise_interval,
         one.moved, *one.pairs_probe, *one.pairs_likelihood]
        for one in found
    ]  # fmt: skip
    columns = [
        column("head", "head", kind="text"),
        column("layer", "layer", kind="text"),
        column("base", "base", "top-1"),
        column("last", "last", "top-1"),
        column("rise", "rise", "top-1"),
        column("low", "rise, low", "top-1"),
        column("high", "rise, high", "top-1"),
        column("transfer", "base probe at the last step", "top-1"),
        column("probe_first", "probe pairs, base"),
        column("probe_last", "probe pairs, last"),
        column("likelihood_first", "likelihood pairs, base"),
        column("likelihood_last", "likelihood pairs, last"),
    ]
    caption = (
        "Layer and penalty chosen on the questions with even numbers; probes are read on those"
        " with odd ones, likelihoods on all. Pairs:"
        " share of (right, wrong) pairs ranked right, by the probe and by the scores."
    )
    return Table("transfer", "Knowing and saying", caption, columns, rows)
