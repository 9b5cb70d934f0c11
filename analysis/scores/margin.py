"""Margins and pairs: the continuous quantities below an accuracy."""

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inputs import Rows, equal_sized, question_count


def margins(
    rows: Rows, scores: Float[np.ndarray, "step row"]
) -> Float[np.ndarray, "step question"]:
    """Subtract the best wrong score from the right score, per question."""
    result = np.empty((scores.shape[0], question_count(rows)))
    for index in equal_sized(rows):
        block, correct = scores[:, index], rows.correct[index]
        right = np.where(correct, block, -np.inf).max(axis=2)
        wrong = np.where(correct, -np.inf, block).max(axis=2)
        result[:, rows.question[index[:, 0]]] = right - wrong
    return result


def right_pairs(
    rows: Rows, scores: Float[np.ndarray, "step row"]
) -> Float[np.ndarray, "step question"]:
    """Share of (right, wrong) pairs ranked correctly, a tied pair counting one half."""
    result = np.empty((scores.shape[0], question_count(rows)))
    for index in equal_sized(rows):
        block, correct = scores[:, index], rows.correct[index]
        right = np.where(correct, block, -np.inf).max(axis=2, keepdims=True)
        won = (right > block) + 0.5 * (right == block)
        share = np.where(correct, 0.0, won).sum(axis=2) / (index.shape[1] - 1)
        result[:, rows.question[index[:, 0]]] = share
    return result


def by_label(
    rows: Rows, values: Float[np.ndarray, "step row"]
) -> tuple[Float[np.ndarray, "step question"], Float[np.ndarray, "step question"]]:
    """Return the right candidate's value and the mean of the wrong ones, per question."""
    starts = np.searchsorted(rows.question, np.arange(question_count(rows)))
    sizes = np.bincount(rows.question)
    right = np.add.reduceat(np.where(rows.correct, values, 0.0), starts, axis=1)
    wrong = np.add.reduceat(np.where(rows.correct, 0.0, values), starts, axis=1)
    return right, wrong / (sizes - 1)
