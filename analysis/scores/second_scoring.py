"""What two scorings of the same checkpoints say about noise: signal over noise, step by step.

The rows, the weights and the texts are the same and only the batches differ, so what differs
between the two scorings is noise and what they share is signal.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inputs import Rows, mean_by_question
from critical_phase.analysis.judging.thresholds import CLEAR

LEVELS = (1.0, CLEAR)
"""Signal over noise at which noise no longer hides a change, and no longer matters."""


@dataclass(frozen=True, slots=True)
class SecondScoring:
    """Noise and signal of one head at the trained steps that were scored twice."""

    steps: Int[np.ndarray, " step"]
    """Trained steps, increasing."""
    noise: Float[np.ndarray, " step"]
    """Standard deviation of the noise of a score change, within questions, in nats."""
    signal: Float[np.ndarray, " step"]
    """Standard deviation of score changes that both scorings share, in nats."""
    snr: Float[np.ndarray, " step"]
    """Signal over noise; infinite where the two scorings agree to the last bit."""
    low: Float[np.ndarray, " step"]
    """Lower end of its interval over questions."""
    high: Float[np.ndarray, " step"]
    """Upper end."""
    crossings: tuple["Crossing", ...]
    """First steps above `LEVELS`, in that order."""
    identical: bool
    """Whether the scorings agree to the last bit at every step, which shows no noise at all."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """The first trained step at which signal over noise is above a level."""

    level: float
    step: int | None
    """None where it never is."""
    interval: tuple[float, float]
    """95 % over questions, in steps; infinite where resamples never cross."""


def compare_scorings(
    rows: Rows,
    steps: Int[np.ndarray, " step"],
    first: Float[np.ndarray, "step row"],
    second: Float[np.ndarray, "step row"],
    weights: Float[np.ndarray, "draw question"],
    *,
    other_precision: bool = False,
) -> SecondScoring:
    """Split score changes into what two scorings share and what they do not.

    Only differences within a question count, as only they can decide it. The shared part is
    the covariance of the two, so noise alone has a signal of zero and not of one.

    Args:
        rows: The candidates.
        steps: Trained steps, increasing.
        first: Score changes from the base in the run's own scoring, delta_t.
        second: The same in the second scoring.
        weights: Question resamples.
        other_precision: The second scoring computes in another type, so its noise is not
            that of the first. All of the difference then counts as noise, not half of its
            square: an upper bound for either.

    Returns:
        sd(noise) = sd(second - first) / sqrt(2), sd(signal) = sqrt(cov(first, second)).
    """
    one, two = (x - mean_by_question(rows, x)[:, rows.question] for x in (first, second))
    share = 1.0 if other_precision else 0.5
    noise = share * mean_by_question(rows, (two - one) ** 2)
    shared = mean_by_question(rows, one * two)
    draws = _ratio(weights @ shared.T, weights @ noise.T)
    snr = _ratio(shared.mean(axis=1), noise.mean(axis=1))
    low, high = _quantiles(draws)
    return SecondScoring(
        steps,
        np.sqrt(noise.mean(axis=1)),
        np.sqrt(np.maximum(shared.mean(axis=1), 0.0)),
        snr,
        low,
        high,
        tuple(_crossing(level, steps, snr, draws) for level in LEVELS),
        bool(np.array_equal(first, second)),
    )


def half_way(
    steps: Int[np.ndarray, " step"], curves: Float[np.ndarray, "draw step"]
) -> Float[np.ndarray, " draw"]:
    """Return where each curve is first half way from its first to its last value.

    Between two steps the curve is a straight line. NaN where a curve ends as it begins.
    """
    span = curves[:, -1:] - curves[:, :1]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (curves - curves[:, :1]) / span
        at = np.argmax(share >= 0.5, axis=1)
        rows = np.arange(len(curves))
        before, after = share[rows, at - 1], share[rows, at]
        places = steps[at - 1] + (0.5 - before) / (after - before) * (steps[at] - steps[at - 1])
    found: np.ndarray = np.where(span[:, 0] == 0, np.nan, places)
    return found


def _ratio(
    shared: Float[np.ndarray, "..."], noise: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """Return signal over noise: infinite without noise, 0 where nothing moved."""
    signal = np.maximum(shared, 0.0)
    blank = np.where(signal > 0, np.inf, 0.0)
    ratio: np.ndarray = np.sqrt(np.divide(signal, noise, out=blank, where=noise > 0))
    return ratio


def _quantiles(
    draws: Float[np.ndarray, "draw step"],
) -> tuple[Float[np.ndarray, " step"], Float[np.ndarray, " step"]]:
    """Return the percentile interval; draws may be infinite, so none is interpolated."""
    low = np.quantile(draws, 0.025, axis=0, method="lower")
    high = np.quantile(draws, 0.975, axis=0, method="higher")
    return np.asarray(low), np.asarray(high)


def _crossing(
    level: float,
    steps: Int[np.ndarray, " step"],
    snr: Float[np.ndarray, " step"],
    draws: Float[np.ndarray, "draw step"],
) -> Crossing:
    """Find the first step above a level, and where it is on every resample."""
    above = draws > level
    first = np.where(above.any(axis=1), steps[np.argmax(above, axis=1)], np.inf)
    low, high = _quantiles(first[:, None])
    found = np.flatnonzero(snr > level)
    step = int(steps[found[0]]) if found.size else None
    return Crossing(level, step, (float(low[0]), float(high[0])))
