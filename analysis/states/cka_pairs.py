"""CKA of all pairs of tables at once: each Gram is made once, then every pair is one product.

A Gram is symmetric and its diagonal (or the blocks of siblings) does not count, so a table
becomes one line of n(n-1)/2 numbers, n being rows or contrasts within questions. With T lines
L, all T x T inner products are L L', a single matrix product. Per table that is n^2 p instead
of T n p^2 operations for features.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inputs import Rows
from critical_phase.analysis.probing.question_blocks import contrasts, groups_of
from critical_phase.analysis.states.cka import BlockFeatures, gram_apart, plain_block_cka


class GramStack:
    """The upper triangles of one Gram per table, a line each, in float64.

    Memory is `tables * n * (n - 1) * 4` bytes: 1.04 GB for 65 tables of 2,000 rows, .58 GB for
    their 1,500 contrasts of questions with 4 candidates.
    """

    def __init__(self, tables: int, rows: int) -> None:
        """Make room for so many tables of so many rows."""
        self._lines = np.zeros((tables, rows * (rows - 1) // 2))
        self._rows = rows

    def put(self, table: int, gram: Float[np.ndarray, "row row"]) -> None:
        """Store the part of a Gram above its diagonal."""
        line, start = self._lines[table], 0
        for row in range(self._rows - 1):
            size = self._rows - 1 - row
            line[start : start + size] = gram[row, row + 1 :]
            start += size

    def products(self, other: "GramStack | None" = None) -> Float[np.ndarray, "table _table"]:
        """Return the inner product of every two Grams, or of all with another stack's.

        Diagonals do not count.
        """
        lines = self._lines if other is None else other._lines
        found: np.ndarray = 2.0 * (self._lines @ lines.T)
        return found


def block_cka_matrix(
    rows: Rows, tables: Iterable[Float[np.ndarray, "row _d"]], count: int
) -> Float[np.ndarray, "table table"]:
    """Return question-block-debiased CKA of every two tables.

    Args:
        rows: The rows, the same for every table.
        tables: Hidden states, one table at a time; none is kept.
        count: Number of tables.

    Returns:
        CKA within questions; NaN where a table has no signal between questions.
    """
    groups = groups_of(rows)
    stack = GramStack(count, sum(one.inner.size for one in groups))
    for at, table in enumerate(tables):
        inner = contrasts(groups, np.asarray(table, dtype=np.float64))
        stack.put(at, gram_apart(inner, groups))
    return cosines(stack.products())


def debiased_cka_matrix(
    tables: Iterable[Float[np.ndarray, "n _p"]], count: int, rows: int
) -> Float[np.ndarray, "table table"]:
    """Return debiased CKA (unbiased HSIC) of every two tables.

    With zero diagonals the U-centred product is K.L + sK sL/((n-1)(n-2)) - 2 rK.rL/(n-2), where
    r are row sums and s totals: all pairs of the corrections are products of small tables.

    Args:
        tables: Features, one table at a time; none is kept.
        count: Number of tables.
        rows: Rows of each table.

    Returns:
        Debiased CKA; NaN where a table has no signal.
    """
    stack, sums = GramStack(count, rows), np.zeros((count, rows))
    for at, table in enumerate(tables):
        centred = np.array(table, dtype=np.float64)
        centred -= centred.mean(axis=0)
        gram = centred @ centred.T
        stack.put(at, gram)
        sums[at] = gram.sum(axis=1) - gram.diagonal()
    whole = sums.sum(axis=1)
    corner = np.outer(whole, whole) / ((rows - 1) * (rows - 2))
    return cosines(stack.products() + corner - 2 / (rows - 2) * (sums @ sums.T))


class PairCollector:
    """Block CKA of every two checkpoints, of tables that come one at a time.

    Tables with a Gram leave one line of a `GramStack`; others are kept as they are.
    """

    def __init__(self, count: int) -> None:
        """Expect so many tables."""
        self._count, self._seen = count, 0
        self._stack: GramStack | None = None
        self._tables: list[BlockFeatures] = []

    def add(self, table: BlockFeatures) -> None:
        """Take the next table."""
        if table.gram is None:
            self._tables.append(table)
            return
        if self._stack is None:
            self._stack = GramStack(self._count, len(table.gram))
        self._stack.put(self._seen, table.gram)
        self._seen += 1

    def matrix(self) -> Float[np.ndarray, "table table"]:
        """Return CKA of all pairs."""
        if self._stack is not None:
            return cosines(self._stack.products())
        return _pair_by_pair(self._tables)


def cka_matrix(tables: Sequence[BlockFeatures]) -> Float[np.ndarray, "table table"]:
    """Return block CKA between all checkpoints; all tables are of one shape."""
    found = PairCollector(len(tables))
    for table in tables:
        found.add(table)
    return found.matrix()


def _pair_by_pair(tables: Sequence[BlockFeatures]) -> Float[np.ndarray, "table table"]:
    """Take every pair by itself: for many more rows than dimensions."""
    result = np.eye(len(tables))
    for i, one in enumerate(tables):
        for j in range(i):
            result[i, j] = result[j, i] = plain_block_cka(one, tables[j])
    return result


def cosines(products: Float[np.ndarray, "table table"]) -> Float[np.ndarray, "table table"]:
    """Divide inner products by the norms on their diagonal; a table with itself gives 1."""
    own = products.diagonal()
    norms = np.sqrt(np.where(own > 0, own, np.nan))
    found = products / np.outer(norms, norms)
    even: np.ndarray = (found + found.T) / 2
    np.fill_diagonal(even, np.where(own > 0, 1.0, np.nan))
    return even
