"""Share of nearest neighbours that two tables agree on, questions' own rows left out.

Rows are clipped at the mean .95 quantile of their absolute values and scaled to length 1, as
in 2405.07987. Siblings share a question and would fill every list, so they are no neighbours.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from critical_phase.analysis.inputs import Rows, mean_by_question
from critical_phase.errors import ShapeError

NEIGHBOURS = 10
"""Neighbours per row, as in the paper."""

CLIP = 0.95
"""Quantile of absolute values, averaged over rows, at which values are clipped."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Shared neighbours of two tables."""

    share: float
    """Mean over questions of the share of common neighbours, 0 to 1."""
    per_question: Float[np.ndarray, " question"]
    chance: float
    """What independent tables give on average: k over the candidates for a neighbour."""


def mutual_neighbours(
    rows: Rows,
    x: Float[np.ndarray, "row p"],
    y: Float[np.ndarray, "row q"],
    count: int = NEIGHBOURS,
) -> Agreement:
    """Compare the nearest neighbours of every row in two tables.

    Args:
        rows: The rows.
        x: One table.
        y: The same rows of the other.
        count: Neighbours of each row.

    Returns:
        The agreement, with its value for independent tables.

    Raises:
        ShapeError: Some row has fewer than `count` rows of other questions.
    """
    others = rows.question.size - np.bincount(rows.question)[rows.question]
    if others.min() < count:
        raise ShapeError(
            f"asked for {count} neighbours, but only {others.min()} rows are of other questions",
            where="mutual_neighbours",
            fix="take fewer neighbours or more questions",
        )
    common = (_nearest(rows, x, count) & _nearest(rows, y, count)).sum(axis=1) / count
    per_question = mean_by_question(rows, common)
    chance = float(mean_by_question(rows, count / others).mean())
    return Agreement(float(per_question.mean()), per_question, chance)


def _nearest(rows: Rows, x: Float[np.ndarray, "row d"], count: int) -> Bool[np.ndarray, "row row"]:
    """Mark the nearest rows of other questions, by cosine."""
    bound = np.quantile(np.abs(x), CLIP, axis=1).mean()
    short = np.clip(x, -bound, bound)
    short = short / np.maximum(np.linalg.norm(short, axis=1, keepdims=True), 1e-30)
    close = short @ short.T
    close[rows.question[:, None] == rows.question[None, :]] = -np.inf
    best = np.argpartition(-close, count - 1, axis=1)[:, :count]
    marked = np.zeros(close.shape, dtype=bool)
    np.put_along_axis(marked, best, values=True, axis=1)
    return marked
