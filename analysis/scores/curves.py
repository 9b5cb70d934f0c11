"""Scores of the four modes and their accuracy, with ties counted as ties.

Reference: 2503.14391 (modes); lm-evaluation-harness `acc` and `acc_norm`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inputs import Rows, Scored, check_scores, equal_sized, question_count
from critical_phase.analysis.scores.noise_floor import at_rest

NEEDS = {
    "likra": ("positive", "negative"),
    "sft": ("positive",),
    "base_likra": ("negative",),
    "pos_base": ("positive",),
}
"""Heads each mode is made of."""


@dataclass(frozen=True, slots=True)
class ModeScores:
    """Combined scores of one mode over the steps it exists at."""

    mode: str
    steps: Int[np.ndarray, " step"]
    values: Float[np.ndarray, "step row"]


def available_modes(heads: tuple[str, ...], modes: tuple[str, ...]) -> tuple[str, ...]:
    """Keep the modes whose heads were trained, in order."""
    return tuple(mode for mode in modes if set(NEEDS[mode]) <= set(heads))


def primary_mode(heads: tuple[str, ...], modes: tuple[str, ...]) -> str | None:
    """Choose the mode of the headline: likra, else base_likra, else sft, else any."""
    have = available_modes(heads, modes)
    order = ("likra", "base_likra", "sft", "pos_base")
    return next((mode for mode in order if mode in have), None)


def sorted_scores(
    arrays: Scored, head: str
) -> tuple[Int[np.ndarray, " step"], Float[np.ndarray, "step row"]]:
    """Return a head's steps in order and its scores, checked and in float64."""
    steps = np.asarray(arrays.steps(head))
    scores = np.asarray(arrays.scores(head), dtype=np.float64)
    check_scores(scores, head, steps)
    order = np.argsort(steps, kind="stable")
    return steps[order], scores[order]


def base_scores(arrays: Scored) -> Float[np.ndarray, " row"]:
    """Return the scores without an adapter, checked and in float64."""
    scores = np.asarray(arrays.base_scores(), dtype=np.float64)
    check_scores(scores, "base", np.zeros(1, dtype=np.int64))
    return scores


def combine(arrays: Scored, mode: str, weight: float) -> ModeScores:
    """Combine the heads of a mode at the steps they share.

    Where scores are subtracted, a head that is the base up to rounding counts as the base.
    """
    parts = {head: sorted_scores(arrays, head) for head in NEEDS[mode]}
    if mode == "sft":
        return ModeScores(mode, *parts["positive"])
    base = base_scores(arrays)
    parts = {h: (steps, at_rest(arrays.rows, base, v)) for h, (steps, v) in parts.items()}
    if mode == "likra":
        (s_pos, pos), (s_neg, neg) = parts["positive"], parts["negative"]
        steps, at_pos, at_neg = np.intersect1d(s_pos, s_neg, return_indices=True)
        return ModeScores(mode, steps, pos[at_pos] - weight * neg[at_neg])
    if mode == "base_likra":
        steps, neg = parts["negative"]
        return ModeScores(mode, steps, base - weight * neg)
    steps, pos = parts["positive"]
    return ModeScores(mode, steps, pos - weight * base)


@dataclass(frozen=True, slots=True)
class Hits:
    """Right or not, per question, with ties."""

    value: Float[np.ndarray, "step question"]
    """1 right, 0 wrong, 1/number tied at the top; NaN where a step separates no question."""
    tied: Int[np.ndarray, " step"]
    """Questions with a partial tie at the top."""
    all_equal: Int[np.ndarray, " step"]
    """Questions whose scores are all equal."""


def top_hits(rows: Rows, scores: Float[np.ndarray, "step row"]) -> Hits:
    """Say for every question whether the right candidate scores highest.

    A tie at the top counts its expected value. A step at which every question has
    all scores equal is undefined: NaN, never the first candidate.
    """
    count = question_count(rows)
    value = np.empty((scores.shape[0], count))
    tied = np.zeros(scores.shape[0], dtype=np.int64)
    equal = np.zeros(scores.shape[0], dtype=np.int64)
    for index in equal_sized(rows):
        block = scores[:, index]
        at_top = block == block.max(axis=2, keepdims=True)
        top = at_top.sum(axis=2)
        right = (at_top & rows.correct[index]).any(axis=2)
        value[:, rows.question[index[:, 0]]] = right / top
        tied += ((top > 1) & (top < index.shape[1])).sum(axis=1)
        equal += (top == index.shape[1]).sum(axis=1)
    value[equal == count] = np.nan
    return Hits(value, tied, equal)
