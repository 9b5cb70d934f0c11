"""The question bootstrap: one set of resamples for every quantity, so differences are paired."""

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.series import Series
from critical_phase.analysis.settings import AnalysisSettings


def question_weights(
    questions: int, draws: int, rng: np.random.Generator
) -> Float[np.ndarray, "draw question"]:
    """Draw how often each question is taken, divided by the number of questions."""
    shares = np.full(questions, 1.0 / questions)
    counts: np.ndarray = rng.multinomial(questions, shares, size=draws) / questions
    return counts


def shared_weights(
    questions: int, settings: AnalysisSettings
) -> Float[np.ndarray, "draw question"]:
    """Return the resamples that every measure of one analysis uses."""
    return question_weights(questions, settings.draws, np.random.default_rng([settings.seed, 1]))


def curve_draws(
    weights: Float[np.ndarray, "draw question"], per_question: Float[np.ndarray, "step question"]
) -> Float[np.ndarray, "draw step"]:
    """Compute the quantity on every resample of the questions."""
    draws: np.ndarray = weights @ per_question.T
    return draws


def interval(
    draws: Float[np.ndarray, "draw ..."], level: float = 0.95
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Return the percentile interval over draws."""
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    return np.asarray(low), np.asarray(high)


def centred_interval(
    value: Float[np.ndarray, " step"], draws: Float[np.ndarray, "draw step"]
) -> tuple[Float[np.ndarray, " step"], Float[np.ndarray, " step"]]:
    """Return the interval of draws, moved so that their mean is the value, at least 0.

    For a quantity that resampling pushes upwards, such as a mean absolute gap.
    """
    low, high = interval(draws)
    shift = value - draws.mean(axis=0)
    return np.maximum(low + shift, 0.0), high + shift


def series_interval(
    series: Series, weights: Float[np.ndarray, "draw question"]
) -> tuple[Float[np.ndarray, " step"], Float[np.ndarray, " step"]] | None:
    """Return the band of a series, or None where it does not vary over questions."""
    if series.per_question is None:
        return None
    return interval(curve_draws(weights, series.per_question))


def mean_covariance(
    per_question: Float[np.ndarray, "step question"],
) -> Float[np.ndarray, "step step"]:
    """Return the bootstrap covariance of the mean curve, in closed form."""
    centred = per_question - per_question.mean(axis=1, keepdims=True)
    covariance: np.ndarray = centred @ centred.T / per_question.shape[1] ** 2
    return covariance
