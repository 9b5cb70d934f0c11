"""How hard each question is for the base, and when it is learned for good.

Reference: EL2N score 2107.07075; pruning by difficulty 2206.14486.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from critical_phase.analysis.inputs import Rows, question_count
from critical_phase.analysis.scores.calibration import option_probabilities
from critical_phase.analysis.scores.margin import margins

STRATA = ("near_impossible", "hard", "middle", "easy")
"""Quartiles of the base margin, lowest first."""

NEVER = -1
"""In place of a checkpoint, where a question is not right at the end."""


@dataclass(frozen=True, slots=True)
class Course:
    """How each question is answered over the checkpoints of one mode."""

    first: Int[np.ndarray, " question"]
    """Checkpoint (its place, from 0) from which a question is right to the end, or `NEVER`."""
    flips: Int[np.ndarray, " question"]
    """Times that a question changes between right and wrong."""


def base_margins(rows: Rows, base: Float[np.ndarray, " row"]) -> Float[np.ndarray, " question"]:
    """Return right minus best wrong under the base, in nats, summed over the answer."""
    found: np.ndarray = margins(rows, base[None])[0]
    return found


def el2n(rows: Rows, base: Float[np.ndarray, " row"]) -> Float[np.ndarray, " question"]:
    """Return the distance of the base's option probabilities to the truth, per question.

    The norm of softmax(scores over options) - onehot(right): 0 is sure and right, the
    root of 2 sure and wrong. 2107.07075 averages it over networks early in training;
    here it is that of the one base before training.
    """
    gap = option_probabilities(rows, base) - rows.correct
    starts = np.searchsorted(rows.question, np.arange(question_count(rows)))
    norm: np.ndarray = np.sqrt(np.add.reduceat(gap**2, starts))
    return norm


def strata(margin: Float[np.ndarray, " question"]) -> Int[np.ndarray, " question"]:
    """Sort questions into quartiles of their base margin, as places in `STRATA`.

    Equal margins keep the order of the questions, so every quartile has its share.
    """
    rank = np.empty(margin.size, dtype=np.int64)
    rank[np.argsort(margin, kind="stable")] = np.arange(margin.size)
    quartile: np.ndarray = rank * len(STRATA) // max(margin.size, 1)
    return quartile


def course(right: Bool[np.ndarray, "step question"]) -> Course:
    """Find from when on each question stays right, and how often it flips.

    Args:
        right: Whether the right answer alone scores highest, at checkpoints in order.
    """
    steps = right.shape[0]
    tail = np.cumprod(right[::-1], axis=0).sum(axis=0)
    first = np.where(tail == 0, NEVER, steps - tail)
    return Course(first, (right[1:] != right[:-1]).sum(axis=0))


def median_first(
    first: Int[np.ndarray, " question"],
    steps: Int[np.ndarray, " step"],
    weights: Float[np.ndarray, "draw question"],
) -> Float[np.ndarray, " draw"]:
    """Return the weighted median of the step of staying right; infinite where it is never.

    Args:
        first: Place of the checkpoint, or `NEVER`.
        steps: Steps of the checkpoints.
        weights: How often each question is taken; rows need not add up to one.
    """
    step = np.where(first == NEVER, np.inf, steps[np.maximum(first, 0)])
    order = np.argsort(step, kind="stable")
    share = np.cumsum(weights[:, order], axis=1)
    at = np.argmax(share >= share[:, -1:] / 2 - 1e-12, axis=1)
    middle: np.ndarray = step[order][at]
    return middle
