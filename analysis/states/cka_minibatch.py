"""CKA over batches of rows, for tables that are too large for one Gram.

Unbiased HSIC is summed over batches in the numerator and in both denominators, and one ratio
is taken at the end; a mean of ratios would be biased. Reference: 2010.15327, section 3.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inputs import Rows, question_count
from critical_phase.analysis.states.cka import hsic
from critical_phase.errors import ShapeError

Table = Float[np.ndarray, "_n _p"]


def minibatch_cka(batches: Iterable[tuple[Table, Table]]) -> float:
    """Return debiased CKA from batches of the same rows of two tables.

    Args:
        batches: Rows of one table and the same rows of the other, a batch at a time.

    Returns:
        One ratio of summed HSIC; 0 on average for independent tables, NaN without signal.

    Raises:
        ShapeError: A batch has fewer than 4 rows.
    """
    sums = np.zeros(3)
    for x, y in batches:
        n = x.shape[0]
        if n < 4:
            raise ShapeError(
                f"a batch has {n} rows, but unbiased HSIC needs at least 4",
                where="minibatch_cka",
                fix="make larger batches",
            )
        x, y = x - x.mean(axis=0), y - y.mean(axis=0)
        sums += np.array([hsic(x, y), hsic(x, x), hsic(y, y)]) / (n * (n - 3))
    good = sums[1] > 0 and sums[2] > 0
    return float(sums[0] / np.sqrt(sums[1] * sums[2])) if good else float("nan")


def row_batches(rows: Rows, most: int) -> list[Int[np.ndarray, " _batch"]]:
    """Deal whole questions out to batches of about `most` rows, as cards are dealt."""
    questions = question_count(rows)
    count = max(1, min(-(-rows.question.size // most), questions // 4))
    return [np.flatnonzero(rows.question % count == at) for at in range(count)]
