"""Does an early score change, scaled up, do what the late one does?

With delta_t = -s(t) u the score (1 - w) L0 - w alpha delta depends on w alpha s(t) / (1 - w)
alone: accuracies over (w, alpha) and over checkpoints fall on one curve. That holds exactly
for an alpha that multiplies delta; for one that multiplies the update of the weights only to
first order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inference.bootstrap import interval
from critical_phase.analysis.inputs import Rows, mean_by_question
from critical_phase.analysis.judging.thresholds import EQUAL
from critical_phase.analysis.scores.curves import top_hits

ALPHAS = (*(2.0**power for power in range(-3, 13)), np.inf)
"""Factors tried on an early change; infinity leaves the base out."""


@dataclass(frozen=True, slots=True)
class ScaledPair:
    """An early change, scaled, against a late one, under one weight of the negative head."""

    weight: float
    unscaled: float
    """Accuracy of the early change as it is."""
    matched: float
    """Accuracy of the early change at the size of the late one."""
    best: float
    """The highest accuracy over `ALPHAS`, chosen on the same questions: flatters the early one."""
    best_alpha: float
    """The factor it needs, the least of equally good ones."""
    late: float
    """Accuracy of the late change."""
    deficit: tuple[float, float]
    """95 % interval of late minus matched, paired over questions."""
    deficit_best: tuple[float, float]
    """95 % interval of late minus best, the factor chosen anew on every resample."""

    @property
    def holds(self) -> bool:
        """Whether the scaled early change equals the late one within `EQUAL`, with its interval."""
        return self.deficit[0] >= -EQUAL and self.deficit[1] <= EQUAL

    @property
    def fails(self) -> bool:
        """Whether no factor brings the early change within `EQUAL` of the late one."""
        return self.deficit_best[0] > EQUAL


def spread(rows: Rows, values: Float[np.ndarray, "*rest row"]) -> Float[np.ndarray, "*rest"]:
    """Return the standard deviation within questions, which alone can decide one."""
    inside = values - mean_by_question(rows, values)[..., rows.question]
    return np.asarray(np.sqrt((inside**2).mean(axis=-1)))


def scaled_hits(
    rows: Rows,
    base: Float[np.ndarray, " row"],
    change: Float[np.ndarray, " row"],
    factors: Sequence[float] | Float[np.ndarray, " factor"],
) -> Float[np.ndarray, "factor question"]:
    """Say for every factor whether base + factor * change ranks the right answer first.

    Args:
        rows: The candidates.
        base: L0.
        change: What is added: -delta of the negative head, delta of the positive one.
        factors: At least 0; infinity leaves the base out.

    Returns:
        As `top_hits`: ties count their share.
    """
    values = [change if np.isinf(x) else base + x * change for x in factors]
    return top_hits(rows, np.stack(values)).value


def weighted_hits(
    rows: Rows,
    base: Float[np.ndarray, " row"],
    change: Float[np.ndarray, " row"],
    weight: float,
    alphas: Sequence[float] | Float[np.ndarray, " alpha"],
) -> Float[np.ndarray, "alpha question"]:
    """Say for every alpha whether (1 - w) L0 + w * alpha * change ranks the right answer first."""
    values = [
        change if np.isinf(alpha) else (1 - weight) * base + weight * alpha * change
        for alpha in alphas
    ]
    return top_hits(rows, np.stack(values)).value


def scaled_pair(
    rows: Rows,
    base: Float[np.ndarray, " row"],
    early: Float[np.ndarray, " row"],
    late: Float[np.ndarray, " row"],
    weight: float,
    weights: Float[np.ndarray, "draw question"],
) -> ScaledPair:
    """Compare a late change with an early one at the same size and at the best size.

    Args:
        rows: The candidates.
        base: L0.
        early: Change of the earlier checkpoint, with the sign that `scaled_hits` takes.
        late: Change of the later one.
        weight: w of the score (1 - w) L0 + w * alpha * change, at most 1.
        weights: Question resamples.
    """
    match = float(spread(rows, late) / spread(rows, early))
    plain, matched = weighted_hits(rows, base, early, weight, (1.0, match))
    tried = weighted_hits(rows, base, early, weight, ALPHAS)
    after = weighted_hits(rows, base, late, weight, (1.0,))[0]
    accuracy = tried.mean(axis=1)
    gap = interval(weights @ (after - matched))
    least = interval(weights @ after - (weights @ tried.T).max(axis=1))
    best = int(np.flatnonzero(accuracy >= accuracy.max() - 1e-12)[0])
    return ScaledPair(
        weight,
        float(plain.mean()),
        float(matched.mean()),
        float(accuracy[best]),
        ALPHAS[best],
        float(after.mean()),
        (float(gap[0]), float(gap[1])),
        (float(least[0]), float(least[1])),
    )


def algebra_gap(
    rows: Rows,
    base: Float[np.ndarray, " row"],
    change: Float[np.ndarray, " row"],
    ratio: float,
    tried: Sequence[float] = (0.3, 0.5, 0.9, 0.99),
) -> float:
    """Return how far accuracy differs between weights of one w alpha / (1 - w): 0 but for ties."""
    found = [weighted_hits(rows, base, change, w, (ratio * (1 - w) / w,))[0].mean() for w in tried]
    return float(max(found) - min(found))
