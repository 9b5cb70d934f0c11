"""Conditional logit: a softmax over the candidates of a question, linear in the hidden states.

P(i | q) = softmax_i(w . x_qi). It ranks within a question, has no intercept and no class
weights, and a shift common to a question's candidates leaves it alone: the likelihood that
matches the task, of which within-question ridge is the linear twin. Fitted by Newton's method.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cho_factor, cho_solve

from critical_phase.analysis.probing.question_blocks import Group

STEPS = 50
"""Most Newton steps; about eight are needed."""

TOLERANCE = 1e-8
"""Largest gradient at the end, per question."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """Weights at one strength of the penalty."""

    weights: Float[np.ndarray, " d"]
    converged: bool


def conditional_logit(
    x: Float[np.ndarray, "row d"],
    groups: Sequence[Group],
    right: Sequence[Int[np.ndarray, "_q 1"]],
    strength: float,
    start: Float[np.ndarray, " d"] | None = None,
) -> Fitted:
    """Minimise -sum_q log P(right | q) + strength |w|^2 / 2 exactly.

    Args:
        x: Features, one row per candidate.
        groups: Questions of these rows.
        right: Right candidate of each question.
        strength: Ridge penalty, 1 / C of scikit-learn.
        start: Weights to begin with, zero if left out.

    Returns:
        The weights, and whether the gradient vanished.
    """
    w = np.zeros(x.shape[1]) if start is None else start.copy()
    count = sum(len(one.index) for one in groups)
    value, slope, bend = _terms(x, groups, right, strength, w)
    for _ in range(STEPS):
        if np.abs(slope).max() <= TOLERANCE * count:
            return Fitted(w, True)
        move = cho_solve(cho_factor(bend), slope)
        size = 1.0
        while size > 1e-8:
            tried = _terms(x, groups, right, strength, w - size * move)
            if tried[0] <= value - 1e-4 * size * float(slope @ move) + 1e-12 * abs(value):
                break
            size /= 2
        w = w - size * move
        value, slope, bend = tried
    return Fitted(w, bool(np.abs(slope).max() <= TOLERANCE * count))


def _terms(
    x: Float[np.ndarray, "row d"],
    groups: Sequence[Group],
    right: Sequence[Int[np.ndarray, "_q 1"]],
    strength: float,
    w: Float[np.ndarray, " d"],
) -> tuple[float, Float[np.ndarray, " d"], Float[np.ndarray, "d d"]]:
    """Return the loss, its gradient and its Hessian."""
    value, slope = strength * float(w @ w) / 2, strength * w
    bend = strength * np.eye(w.size)
    scores = x @ w
    for one, mark in zip(groups, right, strict=True):
        logs = log_softmax(scores[one.index])
        value -= float(np.take_along_axis(logs, mark, axis=1).sum())
        share = np.exp(logs)
        off = share.copy()
        np.put_along_axis(off, mark, np.take_along_axis(off, mark, axis=1) - 1, axis=1)
        own = x[one.index]
        slope = slope + off.ravel() @ own.reshape(off.size, -1)
        centred = own - (share[:, None, :] @ own)
        flat = (centred * np.sqrt(share)[:, :, None]).reshape(off.size, -1)
        bend = bend + flat.T @ flat
    return value, slope, bend


def log_softmax(scores: Float[np.ndarray, "q k"]) -> Float[np.ndarray, "q k"]:
    """Return log-probabilities of the candidates of each question."""
    top = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(top - np.log(np.exp(top).sum(axis=1, keepdims=True)))
