"""Is a score change twice as large when the adapter's update is doubled?

The collapse over (w, alpha) is exact for an alpha that multiplies the score change. With
stored scores of scaled adapters it can be seen how far that stands for a scaled update.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inference.accuracy_interval import accuracy_band
from critical_phase.analysis.inference.bootstrap import interval
from critical_phase.analysis.inputs import Rows, RunArrays, mean_by_question
from critical_phase.analysis.results import Table, column
from critical_phase.analysis.scores.contexts import scaled_adapters
from critical_phase.analysis.scores.curves import base_scores, sorted_scores, top_hits


@dataclass(frozen=True, slots=True)
class ScaledAdapter:
    """One checkpoint with its update multiplied, against its score change multiplied."""

    head: str
    alpha: float
    step: int
    departure: float
    """Size of delta(alpha) - alpha delta(1) over that of alpha delta(1), within questions: 0
    where the score change is linear in the update, 1 where it misses it altogether."""
    departure_interval: tuple[float, float]
    """95 % over questions."""
    accuracy: float
    """Of the direction alone under the scaled update."""
    accuracy_interval: tuple[float, float]
    """95 % over questions."""
    unscaled: float
    """Accuracy of the direction alone as trained, which scaled scores share for every alpha."""


def linearity(
    arrays: RunArrays, weights: Float[np.ndarray, "draw question"], steps: Mapping[str, int]
) -> list[ScaledAdapter]:
    """Compare scaled updates with scaled score changes.

    Args:
        arrays: The run; contexts `scaled-<alpha>` hold the scores.
        weights: Question resamples.
        steps: The step of every head to look at; the nearest one scored is taken.
    """
    found = []
    base = base_scores(arrays)
    for alpha, context in scaled_adapters(arrays):
        for head in context.heads:
            (own, scores), (there, scaled) = (
                sorted_scores(arrays, head),
                sorted_scores(context, head),
            )
            shared, at, to = np.intersect1d(own, there, return_indices=True)
            kept = np.flatnonzero(shared > 0)
            if head not in steps or not kept.size:
                continue
            near = kept[np.argmin(np.abs(shared[kept] - steps[head]))]
            one = scores[at[near]] - base
            two = scaled[to[near]] - base_scores(context)
            found.append(_compare(arrays.rows, head, alpha, int(shared[near]), one, two, weights))
    return found


def linearity_table(found: list[ScaledAdapter]) -> Table:
    """List the scaled checkpoints."""
    rows: list[list[object]] = [
        [one.head, one.alpha, one.step, one.departure, list(one.departure_interval), one.unscaled,
         one.accuracy, list(one.accuracy_interval)]
        for one in found
    ]  # fmt: skip
    columns = [
        column("head", "head", kind="text"),
        column("alpha", "update times"),
        column("step", "step"),
        column("departure", "departure from linear", "share"),
        column("departure_interval", "interval"),
        column("unscaled", "direction alone, as trained", "share"),
        column("accuracy", "direction alone, update scaled", "share"),
        column("accuracy_interval", "its interval"),
    ]
    caption = (
        "Departure: size of the scores' change under the scaled update minus the factor times"
        " their change as trained, over the latter; 0 if scores were linear in the update. A"
        " factor on scores leaves the accuracy of the direction as it was. 95 % over questions."
    )
    return Table("scaled_adapters", "Scaled adapters", caption, columns, rows)


def _compare(
    rows: Rows,
    head: str,
    alpha: float,
    step: int,
    one: Float[np.ndarray, " row"],
    two: Float[np.ndarray, " row"],
    weights: Float[np.ndarray, "draw question"],
) -> ScaledAdapter:
    """Measure how far a scaled update is from a scaled score change."""
    off, size = (
        mean_by_question(rows, (x - mean_by_question(rows, x)[rows.question]) ** 2)
        for x in (two - alpha * one, alpha * one)
    )
    low, high = interval(np.sqrt((weights @ off) / (weights @ size)))
    sign = -1.0 if head == "negative" else 1.0
    plain, scaled = top_hits(rows, sign * np.stack([one, two])).value
    edges = accuracy_band(scaled[None], weights)
    return ScaledAdapter(
        head,
        alpha,
        step,
        float(np.sqrt(off.mean() / size.mean())),
        (float(low), float(high)),
        float(scaled.mean()),
        (float(edges[0][0]), float(edges[1][0])),
        float(plain.mean()),
    )
