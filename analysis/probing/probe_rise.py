"""Whether a probe reads more at the end than at the base, and from which layer on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inference.bootstrap import interval
from critical_phase.analysis.series import Series


@dataclass(frozen=True, slots=True)
class Rise:
    """Right pairs of one head's probe at the last step minus at the base."""

    value: float
    interval: tuple[float, float]
    """On the questions that report."""
    first_layer: int | None
    """First layer whose top-1 rises, whatever the others do; None where none does."""

    @property
    def flat(self) -> bool | None:
        """Say whether the rise is below .05 with its interval; None where that is not clear."""
        if self.interval[1] < FLAT:
            return True
        return False if self.interval[0] > FLAT else None


FLAT = 0.05
"""A rise of right pairs below this counts as none."""


def rise(
    pairs: Float[np.ndarray, "step question"],
    layers: Sequence[Series],
    weights: Float[np.ndarray, "draw question"],
) -> Rise:
    """Compare the last checkpoint with the first, on the questions that report.

    Args:
        pairs: Right pairs at the chosen layer.
        layers: Top-1 of every layer, on the same questions.
        weights: Resamples of the same questions.
    """
    gained = pairs[-1] - pairs[0]
    low, high = interval(weights @ gained)
    return Rise(float(gained.mean()), (float(low), float(high)), first_riser(layers, weights))


def first_riser(
    layers: Sequence[Series], weights: Float[np.ndarray, "draw question"]
) -> int | None:
    """Return the first layer whose rise is above zero in a band that holds for all layers."""
    known = [s for s in layers if s.per_question is not None and s.steps.size > 1]
    if not known:
        return None
    gained = np.stack(
        [s.per_question[-1] - s.per_question[0] for s in known if s.per_question is not None]
    )
    mean, draws = gained.mean(axis=1), weights @ gained.T
    spread = np.maximum(draws.std(axis=0), 1e-12)
    reach = float(np.quantile(((draws - mean) / spread).max(axis=1), 0.975))
    rising = [s.layer for s, low in zip(known, mean - reach * spread, strict=True) if low > 0]
    found = [layer for layer in rising if layer is not None]
    return min(found, default=None)
