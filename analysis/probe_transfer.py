"""Knowing and saying: does the base's own probe still read the answer after training?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .activations import base_scale, base_states, states
from .bootstrap import interval
from .charts import layer_label
from .curves import base_scores, sorted_scores
from .inputs import RunArrays, equal_sized
from .linear_probe import Probe, expected_hits, targets, transfer_predictions, within_centred
from .margin import right_pairs
from .results import Table, column


@dataclass(frozen=True, slots=True)
class Transfer:
    """One head at the layer whose probe is best at the last step."""

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
    pairs_likelihood: tuple[float, float]
    """Pairs ranked right by the scores, at the base and at the last step."""


def transfer(
    arrays: RunArrays,
    head: str,
    layer: int,
    probes: tuple[Probe, Probe],
    weights: Float[np.ndarray, "draw question"],
    weight: float,
) -> Transfer:
    """Compare the probes of base and last step, and carry the first over to the second.

    Args:
        arrays: The run.
        head: Trained head.
        layer: Layer of both probes.
        probes: Probe at the base and at the last step.
        weights: Question resamples.
        weight: Weight of the negative head in a score.

    Returns:
        Top-1 and pairs, with intervals over questions.
    """
    rows, (first, last) = arrays.rows, probes
    base = base_states(arrays, layer)
    scale = base_scale(rows, base)
    now = np.asarray(states(arrays, head, layer)[1][-1], dtype=np.float64)
    blocks, labels = equal_sized(rows), targets(rows)
    before, after = (within_centred(rows, x / scale) for x in (base, now))
    guess = transfer_predictions(before, after, labels, blocks, first.penalty)
    hits = expected_hits(guess, labels, blocks)[:, 0]
    rise, loss = (interval(weights @ (last.top1 - x)) for x in (first.top1, hits))
    pairs = [float(right_pairs(rows, p.predictions[None]).mean()) for p in probes]
    return Transfer(
        head,
        layer,
        float(first.top1.mean()),
        float(last.top1.mean()),
        float((last.top1 - first.top1).mean()),
        (float(rise[0]), float(rise[1])),
        float(hits.mean()),
        (float(loss[0]), float(loss[1])),
        (pairs[0], pairs[1]),
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
        "The layer whose probe is best at the last step, chosen on the same questions. Pairs:"
        " share of (right, wrong) pairs ranked right, by the probe and by the scores."
    )
    return Table("transfer", "Knowing and saying", caption, columns, rows)
