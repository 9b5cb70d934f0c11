"""Whether confidence fits accuracy: Brier score, calibration error, mass on the options.

Reference: expected calibration error 1706.04599; its small-sample bias 2012.08668.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inputs import Rows, equal_sized, question_count


@dataclass(frozen=True, slots=True)
class Confidence:
    """The most probable option of each question, and whether it is the right one."""

    value: Float[np.ndarray, "step question"]
    """Probability of the most probable option."""
    right: Float[np.ndarray, "step question"]
    """1 right, 0 wrong, 1/number tied at the top where the right one is among them."""


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """Expected calibration error with the bins it is made of."""

    error: float
    """Mean gap between confidence and accuracy over bins, weighted by questions."""
    chance: float
    """The error to expect of perfect calibration with as many questions in the same bins."""
    edges: Float[np.ndarray, " edge"]
    """Edges of the bins of confidence, from 0 to 1."""
    questions: Int[np.ndarray, " bin"]
    """Questions in each bin."""
    confidence: Float[np.ndarray, " bin"]
    """Mean confidence in each bin; NaN where it is empty."""
    accuracy: Float[np.ndarray, " bin"]
    """Accuracy in each bin; NaN where it is empty."""


def option_probabilities(
    rows: Rows, values: Float[np.ndarray, "*rest row"]
) -> Float[np.ndarray, "*rest row"]:
    """Return the softmax of a score over the options of each question."""
    starts = np.searchsorted(rows.question, np.arange(question_count(rows)))
    top = np.maximum.reduceat(values, starts, axis=-1)[..., rows.question]
    mass = np.exp(values - top)
    shares: np.ndarray = mass / np.add.reduceat(mass, starts, axis=-1)[..., rows.question]
    return shares


def brier(
    rows: Rows, values: Float[np.ndarray, "*rest row"]
) -> Float[np.ndarray, "*rest question"]:
    """Return the squared distance of the option probabilities to the truth, per question.

    Args:
        rows: The candidates.
        values: Combined scores in nats, of which the softmax over options is taken.

    Returns:
        From 0, sure and right, to 2, sure and wrong; (k - 1) / k for k equal scores.
    """
    gap = option_probabilities(rows, values) - rows.correct
    starts = np.searchsorted(rows.question, np.arange(question_count(rows)))
    total: np.ndarray = np.add.reduceat(gap**2, starts, axis=-1)
    return total


def confidence(rows: Rows, values: Float[np.ndarray, "step row"]) -> Confidence:
    """Return the probability of the most probable option and whether it is right."""
    shares = option_probabilities(rows, values)
    value = np.empty((values.shape[0], question_count(rows)))
    right = np.empty_like(value)
    for index in equal_sized(rows):
        block, at = shares[:, index], rows.question[index[:, 0]]
        top = values[:, index] == values[:, index].max(axis=2, keepdims=True)
        value[:, at] = block.max(axis=2)
        right[:, at] = (top & rows.correct[index]).sum(axis=2) / top.sum(axis=2)
    return Confidence(value, right)


def calibration_error(
    rows: Rows, values: Float[np.ndarray, " row"], bins: int = 10
) -> CalibrationError:
    """Measure how far confidence is from accuracy, over equally wide bins of confidence.

    Args:
        rows: The candidates.
        values: Combined scores of one checkpoint, in nats.
        bins: Number of bins from 0 to 1.

    Returns:
        The error, what perfect calibration would give, and the bins. Never negative: with
        few questions it is above zero even where calibration is perfect; see `chance`.
    """
    found = confidence(rows, values[None])
    one, right = found.value[0], found.right[0]
    inside = bin_of(one, bins)
    count = np.bincount(inside, minlength=bins)
    sums = [np.bincount(inside, weights=w, minlength=bins) for w in (one, right)]
    with np.errstate(invalid="ignore"):
        means = [total / count for total in sums]
    return CalibrationError(
        float(np.abs(sums[0] - sums[1]).sum() / one.size),
        float(expected_error(found.value, bins)[0]),
        np.linspace(0, 1, bins + 1),
        count,
        means[0],
        means[1],
    )


def error_draws(
    found: Confidence, weights: Float[np.ndarray, "draw question"], bins: int = 10
) -> Float[np.ndarray, "draw step"]:
    """Return the calibration error on every resample of the questions."""
    steps = found.value.shape[0]
    draws = np.empty((weights.shape[0], steps))
    for step in range(steps):
        inside = bin_of(found.value[step], bins)[:, None] == np.arange(bins)
        gap = (found.value[step] - found.right[step])[:, None] * inside
        draws[:, step] = np.abs(weights @ gap).sum(axis=1)
    return draws


def expected_error(
    value: Float[np.ndarray, "step question"], bins: int = 10
) -> Float[np.ndarray, " step"]:
    """Return the calibration error of perfect calibration with these confidences.

    The gap of a bin is then a sum of centred coin throws; the mean of its absolute value
    is sqrt(2/pi) standard deviations (normal approximation).
    """
    total = np.zeros(value.shape[0])
    inside = bin_of(value, bins)
    for one in range(bins):
        variance = np.where(inside == one, value * (1 - value), 0.0).sum(axis=1)
        total += np.sqrt(2 / np.pi * variance)
    mean: np.ndarray = total / value.shape[1]
    return mean


def bin_of(value: Float[np.ndarray, "*rest"], bins: int) -> Int[np.ndarray, "*rest"]:
    """Number the bin of each confidence, from 0; a bin holds its upper edge."""
    found: np.ndarray = np.clip(np.ceil(value * bins).astype(np.int64) - 1, 0, bins - 1)
    return found


def log_option_mass(
    rows: Rows, scores: Float[np.ndarray, "*rest row"]
) -> Float[np.ndarray, "*rest question"]:
    """Return the log of the probability that one head gives to all options together.

    The sum of exp(log-probability) over the candidates; different answers exclude each
    other, so it is below 0 unless one is the beginning of another.
    """
    starts = np.searchsorted(rows.question, np.arange(question_count(rows)))
    total: np.ndarray = np.logaddexp.reduceat(scores, starts, axis=-1)
    return total
