"""What an unchanged curve would do by chance: question noise and the wander of training.

Permuting checkpoints is not a null (it rejects a plain ramp every time), so curves are
simulated from a smooth fit with this covariance.
"""

import numpy as np
from jaxtyping import Float

from .bootstrap import mean_covariance

SHRINK = 0.1
"""Share of a random walk mixed into the question covariance, which is nearly singular."""

WHITE = 0.2
"""Variance of noise of single checkpoints over that of one increment of the walk."""

ROUGHNESS_FLOOR = 0.01
"""Least wander per checkpoint as a share of the curve's range: smooth models are not exact."""


def curve_covariance(
    value: Float[np.ndarray, " step"],
    time: Float[np.ndarray, " step"],
    per_question: Float[np.ndarray, "step question"] | None,
) -> Float[np.ndarray, "step step"]:
    """Return the covariance of a curve around its smooth course.

    Question resampling (each question without its own level, which every fit removes) plus a
    random walk over checkpoints, whose size comes from the median squared distance of each
    checkpoint to the line through its neighbours.
    """
    count = value.size
    index = np.arange(count)
    walk = np.minimum(index[:, None], index[None, :]).astype(np.float64)
    sampling = np.zeros((count, count))
    if per_question is not None:
        sampling = (1 - SHRINK) * mean_covariance(
            per_question - per_question.mean(axis=0)
        ) + SHRINK * _step_variance(per_question) * walk
    span = float(np.ptp(value))
    wander = max(_wander_variance(value, time, sampling), (ROUGHNESS_FLOOR * span) ** 2)
    covariance = sampling + wander * (walk + WHITE * np.eye(count))
    tiny = max(float(np.trace(covariance)) / count, 1e-30) * 1e-9
    result: np.ndarray = covariance + tiny * np.eye(count)
    return result


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
