"""Contrasts within questions: k - 1 orthonormal differences in place of k centred rows.

Centred rows of a question sum to zero, so one of them says nothing. In an orthonormal basis
of the differences every inner product stays what it was and a quarter of the rows (k = 4)
is saved, in the Gram matrix and in everything after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inputs import Rows, equal_sized


@dataclass(frozen=True, slots=True)
class Group:
    """All questions with the same number of candidates."""

    index: Int[np.ndarray, "q k"]
    """Rows of each question."""
    inner: Int[np.ndarray, "q m"]
    """Contrasts of each question, m = k - 1."""
    basis: Float[np.ndarray, "m k"]
    """Orthonormal differences of candidates."""
    question: Int[np.ndarray, " q"]
    """Numbers of the questions."""


def groups_of(rows: Rows) -> tuple[Group, ...]:
    """Group questions by number of candidates and number their contrasts."""
    found, start = [], 0
    for index in equal_sized(rows):
        many, k = index.shape
        inner = start + np.arange(many * (k - 1)).reshape(many, k - 1)
        start += inner.size
        found.append(Group(index, inner, helmert(k), rows.question[index[:, 0]]))
    return tuple(found)


def helmert(k: int) -> Float[np.ndarray, "m k"]:
    """Return orthonormal rows that sum to zero: each value against the mean of those before."""
    table = np.tril(np.ones((k, k)), -1)[1:] - np.diag(np.arange(k))[1:]
    scaled: np.ndarray = table / np.linalg.norm(table, axis=1, keepdims=True)
    return scaled


def contrasts(
    groups: Sequence[Group], x: Float[np.ndarray, "row d"]
) -> Float[np.ndarray, "contrast d"]:
    """Turn rows into contrasts; a shift common to all candidates of a question is lost."""
    parts = []
    for one in groups:
        many, k = one.index.shape
        whole = many * k == len(x)
        own = x.reshape(many, k, -1) if whole else x[one.index]
        parts.append((one.basis.astype(x.dtype) @ own).reshape(many * (k - 1), -1))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def choices(groups: Sequence[Group], correct: Float[np.ndarray, " row"]) -> list[np.ndarray]:
    """Return which candidate of each question is marked highest, group by group."""
    return [np.argmax(correct[one.index], axis=1)[:, None] for one in groups]
