"""What an unchanged curve would do by chance: question noise and the wander of training.

Permuting checkpoints is not a null (it rejects a plain ramp every time), so curves are
simulated from a smooth fit with this covariance.
"""

import numpy as np
from jaxtyping import Float
from scipy.linalg import cholesky

from critical_phase.analysis.inference.bootstrap import mean_covariance

SHRINK = 0.1
"""Share of a random walk mixed into the question covariance, which is nearly singular."""

WHITE = 0.2
"""Variance of noise of single checkpoints over that of one increment of the walk."""

TAILS = 8
"""Degrees of freedom of simulated noise: training moves in uneven steps."""

ROUGHNESS_FLOOR = 0.01
"""Least wander per checkpoint as a share of the curve's range: smooth models are not exact."""


def curve_covariance(
    value: Float[np.ndarray, " step"],
    time: Float[np.ndarray, " step"],
    per_question: Float[np.ndarray, "step question"] | None,
) -> Float[np.ndarray, "step step"]:
    """Return the covariance of a curve around its smooth course.

    Question resampling (each question without its own level, which every fit removes) plus
    the wander of training.
    """
    sampling = _sampling_covariance(value, per_question)
    covariance = sampling + _training(value, time, sampling)
    tiny = max(float(np.trace(covariance)) / value.size, 1e-30) * 1e-9
    result: np.ndarray = covariance + tiny * np.eye(value.size)
    return result


def training_covariance(
    value: Float[np.ndarray, " step"],
    time: Float[np.ndarray, " step"],
    per_question: Float[np.ndarray, "step question"] | None,
) -> Float[np.ndarray, "step step"]:
    """Return the part of the covariance that resampling questions does not show."""
    return _training(value, time, _sampling_covariance(value, per_question))


def training_noise(
    covariance: Float[np.ndarray, "step step"], draws: int, rng: np.random.Generator
) -> Float[np.ndarray, "draw step"]:
    """Draw the wander of other trainings with the same course."""
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    noise: np.ndarray = rng.standard_normal((draws, len(covariance))) @ root.T
    return noise


def crossed(
    weights: Float[np.ndarray, "draw question"],
    margins: Float[np.ndarray, "step question"],
    wander: Float[np.ndarray, "draw step"],
) -> Float[np.ndarray, "draw step"]:
    """Return how much accuracy moves when all margins wander together, both in one unit.

    A wander of training moves accuracy only while margins lie close to zero. Where most are
    far from it, before and after a jump, accuracy stands still, so its own course cannot show
    how much it would have wandered within the jump.
    """
    moved = np.empty_like(wander)
    for step, (margin, shift) in enumerate(zip(margins, wander.T, strict=True)):
        there = np.sign(margin[None] + shift[:, None]) - np.sign(margin)
        moved[:, step] = 0.5 * (weights * there).sum(axis=1)
    return moved


def shared_noise(
    value: Float[np.ndarray, " step"],
    time: Float[np.ndarray, " step"],
    per_question: Float[np.ndarray, "step question"] | None,
    weights: Float[np.ndarray, "draw question"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "draw step"]:
    """Draw deviations with the covariance of `curve_covariance`, one per question resample.

    Curves given the same resamples share the part that questions explain; the rest is their
    own and moves in steps with heavy tails, as in the test of a single curve.
    """
    covariance = curve_covariance(value, time, per_question)
    drawn = np.zeros((len(weights), value.size))
    if per_question is not None:
        centred = per_question - per_question.mean(axis=0)
        deviation = centred - centred.mean(axis=1, keepdims=True)
        drawn = np.sqrt(1 - SHRINK) * (weights @ deviation.T)
        covariance = covariance - (1 - SHRINK) * mean_covariance(centred)
    moves = rng.standard_t(TAILS, drawn.shape) * np.sqrt((TAILS - 2) / TAILS)
    noise: np.ndarray = drawn + moves @ cholesky(covariance, lower=True).T
    return noise


def _training(
    value: Float[np.ndarray, " step"],
    time: Float[np.ndarray, " step"],
    sampling: Float[np.ndarray, "step step"],
) -> Float[np.ndarray, "step step"]:
    """Return the covariance of a random walk over checkpoints plus some white noise.

    The size of the walk is the median squared distance of each checkpoint to the line through
    its neighbours, less what questions explain.
    """
    span = float(np.ptp(value))
    wander = max(_wander_variance(value, time, sampling), (ROUGHNESS_FLOOR * span) ** 2)
    return wander * (_walk(value.size) + WHITE * np.eye(value.size))


def _walk(count: int) -> Float[np.ndarray, "step step"]:
    """Return the covariance of a random walk with increments of variance one."""
    index = np.arange(count)
    return np.minimum(index[:, None], index[None, :]).astype(np.float64)


def _sampling_covariance(
    value: Float[np.ndarray, " step"], per_question: Float[np.ndarray, "step question"] | None
) -> Float[np.ndarray, "step step"]:
    """Return the covariance of question resampling, shrunk towards a random walk."""
    if per_question is None:
        return np.zeros((value.size, value.size))
    return (1 - SHRINK) * mean_covariance(
        per_question - per_question.mean(axis=0)
    ) + SHRINK * _step_variance(per_question) * _walk(value.size)


def _step_variance(per_question: Float[np.ndarray, "step question"]) -> float:
    """Return the sampling variance of the change between neighbouring checkpoints."""
    changes = np.diff(per_question, axis=0)
    return float(np.mean(changes.var(axis=1)) / per_question.shape[1])


def _wander_variance(
    value: Float[np.ndarray, " step"],
    time: Float[np.ndarray, " step"],
    sampling: Float[np.ndarray, "step step"],
) -> float:
    """Estimate the variance of one checkpoint-to-checkpoint increment, robustly."""
    share = (time[1:-1] - time[:-2]) / (time[2:] - time[:-2])
    contrast = np.zeros((value.size - 2, value.size))
    rows = np.arange(value.size - 2)
    contrast[rows, rows] = -(1 - share)
    contrast[rows, rows + 1] = 1.0
    contrast[rows, rows + 2] = -share
    size = share**2 + (1 - share) ** 2
    squares = (contrast @ value) ** 2 / size
    expected = np.einsum("ij,jk,ik->i", contrast, sampling, contrast) / size
    return float(max(np.median(squares) / 0.455 - np.median(expected), 0.0))
