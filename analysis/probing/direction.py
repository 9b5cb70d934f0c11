"""Cosine of two mean directions, without the bias that noise of one question gives both."""

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inputs import Rows, mean_by_question

CLEAR = 3.0
"""Standard errors by which a squared mean must exceed 0 before it is divided by."""


def row_cosine(
    rows: Rows, one: Float[np.ndarray, "row d"], two: Float[np.ndarray, "row d"]
) -> Float[np.ndarray, " question"]:
    """Return the cosine of two changes of the same row, averaged per question.

    NaN for every question where some row of either table did not change at all.
    """
    sizes = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    if not (sizes > 0).all():
        return np.full(len(rows.question_ids), np.nan)
    return mean_by_question(rows, np.einsum("rd,rd->r", one, two) / sizes)


def mean_cosine(
    one: Float[np.ndarray, "question d"], two: Float[np.ndarray, "question d"]
) -> tuple[float, Float[np.ndarray, " question"]]:
    """Return the cosine of the mean directions of two tables with one vector per question.

    Only products between different questions count, in the numerator and in both norms, so
    effects of single questions, shared or not, add nothing on average.

    Args:
        one: A vector per question, for example its summed displacement.
        two: The same for the other head, step or half.

    Returns:
        The cosine and its jackknife pseudo-values; NaN where a mean is not above noise by
        three standard errors.
    """
    cross, first, second = _apart(one, two), _apart(one, one), _apart(two, two)
    clear = _clear(first) and _clear(second)
    return _ratio(cross, np.sqrt(first * second) if clear else np.full(cross.size, np.nan))


def mean_along(
    one: Float[np.ndarray, "question d"], axis: Float[np.ndarray, "question d"]
) -> tuple[float, Float[np.ndarray, " question"]]:
    """Return how much of a mean direction the mean of another table contains, in its length.

    Args:
        one: A vector per question.
        axis: A vector per question; the mean of these is the unit of length.

    Returns:
        1 where the mean of `one` holds the whole mean of `axis`; with pseudo-values. NaN where
        the mean of `axis` is not above noise by three standard errors.
    """
    cross, own = _apart(one, axis), _apart(axis, axis)
    return _ratio(cross, own if _clear(own) else np.full(cross.size, np.nan))


def _ratio(
    top: Float[np.ndarray, " case"], under: Float[np.ndarray, " case"]
) -> tuple[float, Float[np.ndarray, " question"]]:
    """Divide, and turn the cases without one question into pseudo-values."""
    found, count = top / under, top.size - 1
    return float(found[0]), np.asarray(count * found[0] - (count - 1) * found[1:])


def _clear(length: Float[np.ndarray, " case"]) -> bool:
    """Say whether a squared mean, with and without each question, is well above noise."""
    whole, without = length[0], length[1:]
    error = np.sqrt((without.size - 1) * ((without - without.mean()) ** 2).mean())
    return bool(without.min() > 0 and whole > CLEAR * error)


def _apart(
    one: Float[np.ndarray, "question d"], two: Float[np.ndarray, "question d"]
) -> Float[np.ndarray, " case"]:
    """Sum products over pairs of different questions: with all, then without each."""
    a, b = one.sum(axis=0), two.sum(axis=0)
    own = np.einsum("qd,qd->q", one, two)
    whole = a @ b - own.sum()
    lost = one @ b + two @ a - 2 * own
    return np.asarray(whole - np.r_[0.0, lost])
