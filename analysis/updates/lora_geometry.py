"""Geometry of LoRA updates that does not depend on how B and A are written.

(B R, R^-1 A) is the same update for every invertible R, so only inner products and
singular values of dW = scaling * B A are used, through r x r matrices.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

Factors = tuple[np.ndarray, np.ndarray, float]
"""A [r, in], B [out, r] and the scaling of one module."""


def inner(one: Factors, two: Factors) -> float:
    """Return the inner product of two updates of one module."""
    (a1, b1, s1), (a2, b2, s2) = one, two
    return s1 * s2 * float(np.sum((b1.T @ b2) * (a1 @ a2.T)))


def singular_values(one: Factors) -> Float[np.ndarray, " rank"]:
    """Return the singular values of an update from two thin QR and an r x r SVD."""
    a, b, scaling = one
    upper_b = np.linalg.qr(np.asarray(b, dtype=np.float64)).R
    upper_a = np.linalg.qr(np.asarray(a, dtype=np.float64).T).R
    return np.asarray(np.linalg.svd(scaling * upper_b @ upper_a.T, compute_uv=False))


def module_gram(
    path: Sequence[Mapping[str, Factors]], module: str
) -> Float[np.ndarray, "step step"]:
    """Return all inner products of one module's updates along a series."""
    a = np.stack([np.asarray(step[module][0], dtype=np.float64) for step in path])
    b = np.stack([step[module][2] * np.asarray(step[module][1], np.float64) for step in path])
    steps, rank = a.shape[:2]
    flat_b = np.swapaxes(b, 1, 2).reshape(steps * rank, -1)
    flat_a = a.reshape(steps * rank, -1)
    product = (flat_b @ flat_b.T) * (flat_a @ flat_a.T)
    gram: np.ndarray = product.reshape(steps, rank, steps, rank).sum(axis=(1, 3))
    return gram


def cross_inner(
    one: Sequence[Mapping[str, Factors]], two: Sequence[Mapping[str, Factors]], module: str
) -> Float[np.ndarray, " step"]:
    """Return the inner products of two heads' updates, step by step."""
    return np.array([inner(a[module], b[module]) for a, b in zip(one, two, strict=True)])


def norms(gram: Float[np.ndarray, "step step"]) -> Float[np.ndarray, " step"]:
    """Return the Frobenius norm of the update at each step."""
    return np.sqrt(np.maximum(np.diag(gram), 0.0))


def lengths(gram: Float[np.ndarray, "step step"]) -> Float[np.ndarray, " inner"]:
    """Return how far the update moved between neighbouring checkpoints."""
    size = np.diag(gram)
    squares = size[1:] + size[:-1] - 2 * np.diag(gram, 1)
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))


def step_lengths(path: Sequence[Mapping[str, Factors]]) -> Float[np.ndarray, " inner"]:
    """Return the movement between checkpoints over all modules together."""
    return lengths(np.sum([module_gram(path, module) for module in sorted(path[0])], axis=0))


def local_cosine(gram: Float[np.ndarray, "step step"], lag: int = 1) -> Float[np.ndarray, " step"]:
    """Measure how sharply the path turns: -1 straight, 0 a right turn, NaN at the ends.

    A random walk gives 0 at every lag, so only a value near 0 that is local in time and
    stable over lags means a turn.
    """
    count = gram.shape[0]
    result = np.full(count, np.nan)
    for t in range(lag, count - lag):
        p, n = t - lag, t + lag
        dot = gram[p, n] - gram[p, t] - gram[t, n] + gram[t, t]
        back = gram[p, p] + gram[t, t] - 2 * gram[p, t]
        ahead = gram[n, n] + gram[t, t] - 2 * gram[n, t]
        floor = 1e-12 * max(float(gram[t, t]), 1e-30)
        if back > floor and ahead > floor:
            result[t] = dot / np.sqrt(back * ahead)
    return result


def cosine_to_last(gram: Float[np.ndarray, "step step"]) -> Float[np.ndarray, " step"]:
    """Return the cosine of each update to the last one, NaN where the update is zero."""
    size = norms(gram) * norms(gram)[-1]
    return np.asarray(np.divide(gram[:, -1], size, out=np.full(size.size, np.nan), where=size > 0))


def stable_rank(one: Factors) -> float:
    """Return squared Frobenius over squared spectral norm, NaN for a zero update."""
    values = singular_values(one)
    return float(np.sum(values**2) / values[0] ** 2) if values[0] > 0 else float("nan")
