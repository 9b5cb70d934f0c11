"""Layer and penalty of a probe, chosen on half of the questions and never on the other half.

Questions with even numbers choose, with probes fitted among themselves; those with odd
numbers report, with probes fitted on every other question.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from critical_phase.analysis.inputs import Rows, question_count
from critical_phase.analysis.probing.linear_probe import PENALTIES, loqo_predictions, rotate
from critical_phase.analysis.probing.question_blocks import choices, contrasts, groups_of
from critical_phase.analysis.scores.margin import right_pairs
from critical_phase.analysis.states.row_subset import take_questions

MOST_STEPS = 17
"""Most checkpoints that the choice, and maps of checkpoints against each other, look at."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The layer and the penalty that read best on the questions that choose."""

    layer: int
    penalty: float
    """In units of the mean squared row norm; one for all checkpoints."""
    level: float
    """Right pairs of the questions that choose, at the best quarter of the checkpoints."""


def log_spaced(steps: Int[np.ndarray, " step"], most: int = MOST_STEPS) -> list[int]:
    """Return places of the first, the last and log-spaced steps between them."""
    if steps.size <= most:
        return list(range(steps.size))
    first, last = max(int(steps[0]), 1), int(steps[-1])
    wanted = np.geomspace(first, last, most - 1)
    near = [int(np.argmin(np.abs(steps - one))) for one in wanted]
    return sorted({0, *near})


def confirmatory(questions: int) -> Bool[np.ndarray, " question"]:
    """Mark the questions that report: those with odd numbers."""
    return np.asarray(np.arange(questions) % 2 == 1)


class Chooser:
    """Scores penalties on the questions that choose."""

    def __init__(self, rows: Rows) -> None:
        """Take the even questions."""
        keep = ~confirmatory(question_count(rows))
        self._at = keep[rows.question]
        self._rows = take_questions(rows, keep)
        self._groups = groups_of(self._rows)
        self._right = choices(self._groups, self._rows.correct.astype(np.float64))

    def levels(self, x: Float[np.ndarray, "row d"]) -> Float[np.ndarray, " penalty"]:
        """Return the share of right pairs at every penalty, one half where nothing differs."""
        rotated = rotate(contrasts(self._groups, np.asarray(x[self._at])), int(self._at.sum()))
        if rotated.scale <= 1e-12 * max(float((x**2).mean()), 1e-300):
            return np.full(len(PENALTIES), 0.5)
        guess = loqo_predictions(rotated, self._groups, self._right)[:, :, 0]
        return np.asarray(right_pairs(self._rows, guess.astype(np.float64)).mean(axis=1))


def choose(levels: Mapping[int, Float[np.ndarray, "step penalty"]]) -> Choice | None:
    """Take the layer and the penalty that read best at a quarter of the checkpoints.

    Not at all of them: before a feature forms every layer reads noise, the same at each step.
    """
    best: Choice | None = None
    for layer, table in levels.items():
        quarter = -(-len(table) // 4)
        level = np.sort(table, axis=0)[-quarter:].mean(axis=0)
        at = int(np.argmax(level))
        if best is None or level[at] > best.level:
            best = Choice(layer, PENALTIES[at], float(level[at]))
    return best
