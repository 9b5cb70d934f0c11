"""Right against wrong within question, and the same for candidates named right at random."""

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inputs import Rows, equal_sized, question_count


def random_labels(
    rows: Rows, draws: int, rng: np.random.Generator
) -> Float[np.ndarray, "draw row"]:
    """Choose a candidate of each question at random, as weights of chosen minus the others.

    Each line takes, question by question, the chosen candidate's value minus the mean of the
    others, and averages that over questions. The first line chooses the right candidate.
    """
    table = np.empty((draws + 1, rows.question.size))
    for index in equal_sized(rows):
        count, size = index.shape
        right = np.argmax(rows.correct[index], axis=1)
        chosen = np.concatenate((right[None], rng.integers(size, size=(draws, count))))
        part = np.full((draws + 1, count, size), -1 / (size - 1))
        np.put_along_axis(part, chosen[..., None], 1.0, axis=2)
        table[:, index] = part / question_count(rows)
    return table
