"""Whole questions, fewer of them, where all rows would cost too much."""

import numpy as np
from jaxtyping import Bool, Int

from critical_phase.analysis.inputs import Rows


def some_questions(rows: Rows, most: int) -> tuple[Rows, Int[np.ndarray, " _kept"]]:
    """Keep whole questions, evenly spread, of at most so many rows; all where they fit.

    Returns:
        The rows that are kept, renumbered, and their places in the whole table.
    """
    total, count = rows.question.size, len(rows.question_ids)
    if total <= most:
        return rows, np.arange(total)
    share = max(4, most * count // total)
    chosen = np.unique(np.linspace(0, count - 1, share).astype(int))
    kept = np.flatnonzero(np.isin(rows.question, chosen))
    number = np.searchsorted(chosen, rows.question[kept])
    return (
        Rows(
            number,
            rows.correct[kept],
            rows.characters[kept],
            rows.tokens[kept],
            tuple(rows.question_ids[i] for i in chosen),
            tuple(rows.groups[i] for i in chosen),
            tuple(rows.texts[i] for i in kept),
            rows.bytes[kept],
        ),
        kept,
    )


def take_questions(rows: Rows, keep: Bool[np.ndarray, " question"]) -> Rows:
    """Return the rows of the marked questions, numbered anew."""
    at = keep[rows.question]
    places = np.flatnonzero(at)
    number = np.cumsum(keep) - 1
    return Rows(
        number[rows.question[at]],
        rows.correct[at],
        rows.characters[at],
        rows.tokens[at],
        tuple(name for name, k in zip(rows.question_ids, keep, strict=True) if k),
        tuple(name for name, k in zip(rows.groups, keep, strict=True) if k),
        tuple(rows.texts[i] for i in places),
        rows.bytes[at],
    )
