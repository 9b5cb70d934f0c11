"""Family-wise p-values of abrupt changes: max-T over all series, each over all its checkpoints.

Every series is simulated around its own smooth courses with its own noise; the question
resamples are the same for all series of a draw, so their dependence is that of the data. The
wander of training is drawn apart, which is on the safe side where series wander together.
"""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inference.multiplicity import max_t
from critical_phase.analysis.jumps.noise_model import shared_noise
from critical_phase.analysis.jumps.series_change import ChangeFinder, SeriesChange
from critical_phase.analysis.series import Series

TAIL = 0.1
"""Share of its own null beyond which a statistic is scored by an exponential tail."""


def family_p(finder: ChangeFinder, found: Sequence[SeriesChange]) -> Float[np.ndarray, " series"]:
    """Return the chance that any series of the family looks as abrupt, all being smooth.

    Args:
        finder: Question resamples and tests; its draws are those of the family.
        found: Series with their single p-value. Each statistic is already the largest over
            places and widths, so steps are part of the family.

    Returns:
        The larger of two max-T p-values (around lines, around best smooth fits), and never
        below the single p-value of the series.

    Reference:
        Westfall and Young (1993), Resampling-based multiple testing, section 2.6.
    """
    if not found:
        return np.zeros(0)
    draws = [_draws(finder, change.series) for change in found]
    by_kind = [_max_p([pair[kind] for pair in draws]) for kind in (0, 1)]
    single = np.array([change.test.p for change in found])
    return np.asarray(np.maximum(np.maximum(*by_kind), single))


Scored = tuple[float, Float[np.ndarray, " draw"]]
"""A statistic and its null, both as -log of their chance under that null."""


def _draws(finder: ChangeFinder, series: Series) -> tuple[Scored, Scored]:
    """Simulate one series and score both statistics."""
    time = series.steps.astype(np.float64)
    test = finder.prepared(time)
    if not len(test.abrupt.tau):
        nothing = (0.0, np.zeros(len(finder.weights)))
        return nothing, nothing
    name = f"{series.quantity} {series.layer} {series.attention_head}"
    rng = np.random.default_rng([finder.settings.seed, 10, crc32(name.encode())])
    noise = shared_noise(series.value, time, series.per_question, finder.weights, rng)
    null = test.simulate(series.value, series.per_question, noise)
    return _scored(null.seen[0], null.over_line), _scored(null.seen[1], null.over_smooth)


def _scored(seen: float, null: Float[np.ndarray, " draw"]) -> Scored:
    """Put a statistic on the scale of its own null, so that no series rules the maximum.

    Any increasing score keeps max-T valid; this one makes the series equal partners although
    the tails of their nulls differ, and goes on beyond the largest draw.
    """
    ordered = np.sort(null.astype(np.float64))
    far = float(np.quantile(ordered, 1 - TAIL))
    excess = max(float(np.mean(ordered[ordered >= far] - far)), 1e-9)

    def score(values: Float[np.ndarray, " value"]) -> Float[np.ndarray, " value"]:
        below = np.searchsorted(ordered, np.minimum(values, far), side="left") / ordered.size
        inner = -np.log(np.maximum(1 - below, TAIL))
        return np.asarray(inner + np.maximum(values - far, 0.0) / excess)

    return float(score(np.array([seen]))[0]), score(null.astype(np.float64))


def _max_p(scored: Sequence[Scored]) -> Float[np.ndarray, " series"]:
    """Compare each statistic with the largest of every draw."""
    observed = np.array([seen for seen, _ in scored])
    return max_t(observed, np.stack([null for _, null in scored], axis=1))
