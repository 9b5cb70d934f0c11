"""Minimum description length of the right answers, by online coding.

The first questions are sent at log2 k bits; every further block with the probabilities of a
probe trained on all questions before it. Blocks are whole questions. Which penalty to use is
not chosen: the code mixes all of them, weighted by how well they coded what was sent so far,
which the receiver can do as well. Reference: Voita and Titov (2020), 2003.12298, eq. 3.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inputs import Rows
from critical_phase.analysis.probing.conditional_logit import conditional_logit, log_softmax
from critical_phase.analysis.probing.question_blocks import choices, groups_of
from critical_phase.analysis.states.row_subset import take_questions

FIRST = 1 / 32
"""Share of the questions in the first block; each further end is twice as far."""


@dataclass(frozen=True, slots=True)
class OnlineCode:
    """Bits that the right answer of every question took."""

    bits: Float[np.ndarray, " question"]
    uniform: Float[np.ndarray, " question"]
    """log2 of its number of candidates."""

    @property
    def compression(self) -> float:
        """Return uniform bits over bits: 1 for a probe that reads nothing, below 1 if misled."""
        return float(self.uniform.sum() / self.bits.sum())

    def draws(self, weights: Float[np.ndarray, "draw question"]) -> Float[np.ndarray, " draw"]:
        """Return the compression on resamples of the questions, without fitting again."""
        return np.asarray((weights @ self.uniform) / (weights @ self.bits))


def online_code(
    rows: Rows,
    x: Float[np.ndarray, "row d"],
    strengths: Sequence[float],
    order: Int[np.ndarray, " question"],
) -> OnlineCode:
    """Code the right answers given the hidden states.

    Args:
        rows: The candidates.
        x: Features.
        strengths: Ridge penalties, all mixed.
        order: Order in which questions are sent.

    Returns:
        Bits per question.
    """
    count = len(rows.question_ids)
    uniform = np.log2(np.bincount(rows.question).astype(np.float64))
    bits = uniform.copy()
    starts: list[Float[np.ndarray, " d"] | None] = [None] * len(strengths)
    spent = np.zeros(len(strengths))
    ends = block_ends(count)
    for begin, end in itertools.pairwise(ends):
        seen = np.isin(np.arange(count), order[:begin])
        known = take_questions(rows, seen)
        groups, own = groups_of(known), x[seen[rows.question]]
        right = choices(groups, known.correct.astype(np.float64))
        fits = [
            conditional_logit(own, groups, right, s, w).weights
            for s, w in zip(strengths, starts, strict=True)
        ]
        now = order[begin:end]
        logs = right_logs(rows, np.stack([x @ w for w in fits]))[:, now]
        bits[now] = _mixed(logs, spent)
        spent = spent + logs.sum(axis=1)
        starts = list(fits)
    return OnlineCode(bits, uniform)


def block_ends(count: int) -> list[int]:
    """Return where blocks end: a thirty-second of the questions, then doubling."""
    ends = [max(1, round(count * FIRST * 2**i)) for i in range(6)]
    return sorted({min(end, count) for end in ends} | {count})


def _mixed(
    logs: Float[np.ndarray, "strength question"], spent: Float[np.ndarray, " strength"]
) -> Float[np.ndarray, " question"]:
    """Return bits under the mixture, its weights updated after every question."""
    before = spent[:, None] + np.concatenate(
        [np.zeros((len(logs), 1)), np.cumsum(logs, axis=1)[:, :-1]], axis=1
    )
    weight = before - before.max(axis=0)
    weight = np.exp(weight) / np.exp(weight).sum(axis=0)
    return np.asarray(-np.log2((weight * np.exp(logs)).sum(axis=0)))


def right_logs(
    rows: Rows, scores: Float[np.ndarray, "fit row"]
) -> Float[np.ndarray, "fit question"]:
    """Return the log-probability of every right candidate under softmax of the scores."""
    found = np.empty((len(scores), len(rows.question_ids)))
    for one in groups_of(rows):
        right = np.argmax(rows.correct[one.index], axis=1)[:, None]
        for at, line in enumerate(scores):
            logs = log_softmax(line[one.index])
            found[at, one.question] = np.take_along_axis(logs, right, axis=1)[:, 0]
    return found
