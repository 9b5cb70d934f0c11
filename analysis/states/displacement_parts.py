"""What movement is made of: one vector, questions, right against wrong, and the rest.

Model of the change of row (q, a): mu + u_q + c_qa beta + e_qa, with c = 1 - 1/k for the right
candidate and -1/k for wrong ones. Every part is estimated from pairs of rows, never from a
row with itself, so noise adds nothing to the first three on average.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inputs import Rows

PARTS = ("constant", "question", "right_wrong", "rest")
"""One vector for all; one per question; one that tells right from wrong; everything else."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Shares of mean squared change; they sum to 1, small negative ones are noise."""

    share: Float[np.ndarray, " part"]
    """In the order of `PARTS`; NaN without change."""
    pseudo: Float[np.ndarray, "part question"]
    """Jackknife pseudo-values, whose mean is the share up to terms of 1/Q."""


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over questions, one entry per question left out (the first leaves out none)."""

    rows: np.ndarray
    rows_squared: np.ndarray
    pairs: np.ndarray
    contrast: np.ndarray
    contrast_squared: np.ndarray
    energy: np.ndarray
    length: np.ndarray
    own: np.ndarray
    label_length: np.ndarray
    label_own: np.ndarray

    def shares(self) -> Float[np.ndarray, "part case"]:
        """Solve for the parts."""
        with np.errstate(divide="ignore", invalid="ignore"):  # one question has no pairs
            common = (self.length - self.own) / (self.rows**2 - self.rows_squared)
            label = self.label_length - self.label_own
            label = label / (self.contrast**2 - self.contrast_squared)
            siblings = (self.own - self.energy) / self.pairs
            question = siblings - common + label * self.contrast / self.pairs
            parts = np.stack([common, question, label * self.contrast / self.rows])
            parts = np.where(self.energy > 0, parts * self.rows / self.energy, np.nan)
        return np.concatenate([parts, 1 - parts.sum(axis=0, keepdims=True)])


def question_sums(
    rows: Rows, values: Float[np.ndarray, "row d"]
) -> Float[np.ndarray, "question d"]:
    """Add up the rows of each question."""
    starts = np.flatnonzero(np.r_[True, np.diff(rows.question) > 0])
    sums: np.ndarray = np.add.reduceat(values, starts, axis=0)
    return sums


def contrasts(rows: Rows) -> Float[np.ndarray, " row"]:
    """Return 1 - 1/k for right candidates and -1/k for wrong ones."""
    found: np.ndarray = rows.correct - 1.0 / np.bincount(rows.question)[rows.question]
    return found


def label_sums(rows: Rows, values: Float[np.ndarray, "row d"]) -> Float[np.ndarray, "question d"]:
    """Return, per question, the right row minus the mean of all its rows."""
    return question_sums(rows, contrasts(rows)[:, None] * values)


def displacement_parts(rows: Rows, change: Float[np.ndarray, "row d"]) -> Parts:
    """Split squared change into its parts, without the bias of noise.

    Args:
        rows: The rows.
        change: State minus base state.

    Returns:
        Shares and pseudo-values. `constant` is `displacement.constant_shift`.
    """
    sizes = np.bincount(rows.question).astype(np.float64)
    energy = question_sums(rows, (change**2).sum(axis=1, keepdims=True))[:, 0]
    if energy.sum() <= 0:
        return Parts(np.full(4, np.nan), np.full((4, sizes.size), np.nan))
    sums, labels = question_sums(rows, change), label_sums(rows, change)
    shares = _left_out(sizes, energy, sums, labels).shares()
    count = sizes.size
    return Parts(shares[:, 0], count * shares[:, :1] - (count - 1) * shares[:, 1:])


def _left_out(
    sizes: Float[np.ndarray, " question"],
    energy: Float[np.ndarray, " question"],
    sums: Float[np.ndarray, "question d"],
    labels: Float[np.ndarray, "question d"],
) -> _Sums:
    """Take every question out of every sum in turn, after the case with all of them."""
    contrast = 1 - 1 / sizes
    own, label_own = (sums**2).sum(axis=1), (labels**2).sum(axis=1)
    whole, label_whole = sums.sum(axis=0), labels.sum(axis=0)
    return _Sums(
        _without(sizes),
        _without(sizes**2),
        _without(sizes * (sizes - 1)),
        _without(contrast),
        _without(contrast**2),
        _without(energy),
        np.r_[0.0, own - 2 * sums @ whole] + whole @ whole,
        _without(own),
        np.r_[0.0, label_own - 2 * labels @ label_whole] + label_whole @ label_whole,
        _without(label_own),
    )


def _without(values: Float[np.ndarray, " question"]) -> Float[np.ndarray, " case"]:
    """Return the sum, and the sum without each question."""
    return np.asarray(values.sum() - np.r_[0.0, values])
