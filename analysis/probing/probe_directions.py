"""How far the direction of a probe turns between checkpoints, against what noise alone turns.

Two probes are compared only where they were trained on different halves of the questions, so
noise in the labels or the states of a question cannot make them agree. The same checkpoint
against itself then gives the ceiling.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from critical_phase.analysis.inputs import Rows
from critical_phase.analysis.probing.chosen_path import ChosenPath
from critical_phase.analysis.probing.linear_probe import Rotated, label_contrasts, rotate
from critical_phase.analysis.probing.question_blocks import choices, contrasts, groups_of
from critical_phase.analysis.states.row_subset import take_questions

HALVINGS = 4
"""Random halvings that are averaged."""

FOLDS = 10
"""Groups of questions that the jackknife leaves out in turn."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The probe of the base and the probe of the last checkpoint."""

    cosine: float
    """Between different halves of the questions."""
    ceiling: float
    """Geometric mean of base with base and last with last, between different halves."""
    corrected: float
    """cosine / ceiling: 1 where only noise sets the two apart; NaN without a ceiling."""
    interval: tuple[float, float]
    """Of `corrected`, by a jackknife over ten groups of questions."""


def ridge_direction(
    rows: Rows,
    keep: Bool[np.ndarray, " question"],
    x: Float[np.ndarray, "row d"],
    penalty: float,
) -> Float[np.ndarray, " d"]:
    """Return the unit direction of a probe trained on some of the questions."""
    some = take_questions(rows, keep)
    groups = groups_of(some)
    own = contrasts(groups, np.asarray(x[keep[rows.question]]))
    right = choices(groups, some.correct.astype(np.float64))
    rotated = rotate(own, some.question.size)
    weights = _weights(own, rotated, label_contrasts(groups, right)[:, 0], penalty)
    length = float(np.linalg.norm(weights))
    return weights / length if length > 0 else weights


def _weights(
    own: Float[np.ndarray, "contrast d"],
    rotated: Rotated,
    labels: Float[np.ndarray, " contrast"],
    penalty: float,
) -> Float[np.ndarray, " d"]:
    """Return (x'x + penalty)^-1 x'y, through whichever Gram was decomposed."""
    turned = (rotated.z.T @ labels) / (rotated.power + penalty * rotated.scale)
    if rotated.axes is not None:
        return np.asarray(rotated.axes @ turned)
    power = np.where(rotated.power > 0, rotated.power, 1.0)
    return np.asarray(own.T @ (rotated.z @ (turned / power)))


def cross_cosines(
    rows: Rows,
    features: Sequence[Float[np.ndarray, "row d"]],
    penalty: float,
    rng: np.random.Generator,
    keep: Bool[np.ndarray, " question"] | None = None,
    halvings: int = HALVINGS,
) -> Float[np.ndarray, "step step"]:
    """Return cosines of probes of all pairs of checkpoints, between halves of the questions.

    Args:
        rows: The candidates.
        features: Scaled states of each checkpoint.
        penalty: Ridge penalty.
        rng: Draws the halves.
        keep: Questions to use, all if left out.
        halvings: Random halvings that are averaged.
    """
    used = np.ones(len(rows.question_ids), dtype=bool) if keep is None else keep
    total = np.zeros((len(features), len(features)))
    for _ in range(halvings):
        mixed = rng.permutation(np.flatnonzero(used))
        halves = []
        for part in (mixed[::2], mixed[1::2]):
            mark = np.zeros(used.size, dtype=bool)
            mark[part] = True
            halves.append(np.stack([ridge_direction(rows, mark, x, penalty) for x in features]))
        one = halves[0] @ halves[1].T
        total += (one + one.T) / 2
    return total / halvings


def turn(
    rows: Rows, path: ChosenPath, rng: np.random.Generator, cosines: Float[np.ndarray, "step step"]
) -> Turn:
    """Compare the probes of the first and the last checkpoint, noise taken out."""
    ends = [path.features(0), path.features(path.steps.size - 1)]
    penalty, questions = path.choice.penalty, len(rows.question_ids)
    fold = rng.permutation(questions) % FOLDS
    pseudo = []
    for one in range(FOLDS):
        table = cross_cosines(rows, ends, penalty, rng, fold != one, halvings=2)
        pseudo.append(_corrected(table[0, 1], table[0, 0], table[1, 1]))
    value = _corrected(cosines[0, -1], cosines[0, 0], cosines[-1, -1])
    spread = float(np.sqrt((FOLDS - 1) * np.var(pseudo)))
    ceiling = float(np.sqrt(max(cosines[0, 0], 0.0) * max(cosines[-1, -1], 0.0)))
    band = (value - 2.26 * spread, value + 2.26 * spread)  # t, 9 degrees of freedom
    return Turn(float(cosines[0, -1]), ceiling, value, band)


def _corrected(between: float, first: float, last: float) -> float:
    """Divide by the ceiling, NaN where the same checkpoint does not agree with itself."""
    if first <= 0 or last <= 0:
        return float("nan")
    return float(between / np.sqrt(first * last))
