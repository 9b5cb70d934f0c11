"""Intruder dimensions: leading directions of an updated weight that the base weight lacks.

Among the k largest left singular vectors u_j of W0 + dW, those with max_i |u_j . u_i0| below a
threshold, over all left singular vectors u_i0 of W0. None are expected after a small update.

Reference: 2410.21228.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse.linalg import svds

from critical_phase.errors import ShapeError

TOP = 10
"""Largest singular vectors that are looked at (k of the paper)."""

THRESHOLDS = (0.3, 0.5, 0.7, 0.9)
"""Largest cosines below which a vector counts; the paper's is .5."""

DENSE = 512
"""Smaller side of a matrix up to which it is decomposed whole."""


def base_vectors(weight: Float[np.ndarray, "out in"]) -> Float[np.ndarray, "out rank"]:
    """Return all left singular vectors of a base weight, in columns.

    Through the Gram matrix of the smaller side, which costs a fraction of a full SVD.
    """
    wide = np.asarray(weight, dtype=np.float64)
    if min(wide.shape) <= DENSE:
        return np.asarray(np.linalg.svd(wide, full_matrices=False)[0])
    if wide.shape[0] <= wide.shape[1]:
        return np.asarray(np.linalg.eigh(wide @ wide.T)[1])
    vectors = wide @ np.linalg.eigh(wide.T @ wide)[1]
    length = np.linalg.norm(vectors, axis=0)
    keep = length > 1e-6 * length.max()
    return np.asarray(vectors[:, keep] / length[keep])


def leading_vectors(
    weight: Float[np.ndarray, "out in"], top: int = TOP
) -> Float[np.ndarray, "out top"]:
    """Return the left singular vectors of the largest singular values, largest first."""
    wide = np.asarray(weight, dtype=np.float64)
    if min(wide.shape) <= max(DENSE, top):
        return np.asarray(np.linalg.svd(wide, full_matrices=False)[0][:, :top])
    start = np.ones(min(wide.shape)) / np.sqrt(min(wide.shape))
    left, values, _ = svds(wide, k=top, v0=start, return_singular_vectors="u")
    return np.asarray(left[:, np.argsort(-values)])


def best_cosines(
    base: Float[np.ndarray, "out rank"],
    updated: Float[np.ndarray, "written in"],
    *,
    top: int = TOP,
) -> Float[np.ndarray, " top"]:
    """Return max_i |u_j . u_i0| of each leading direction of an updated weight.

    Args:
        base: All left singular vectors of the base weight, from `base_vectors`.
        updated: The weight with its update.
        top: Leading directions to look at.

    Raises:
        ShapeError: The two have different numbers of outputs.
    """
    if base.shape[0] != updated.shape[0]:
        raise ShapeError(
            f"base weights write to {base.shape[0]} outputs, updated ones to {updated.shape[0]}"
        )
    return np.asarray(np.abs(base.T @ leading_vectors(updated, top)).max(axis=0))


def intruders(
    cosines: Float[np.ndarray, " top"], thresholds: Sequence[float] = THRESHOLDS
) -> Int[np.ndarray, " threshold"]:
    """Count leading directions whose best cosine is below each threshold."""
    return np.array([int((cosines < one).sum()) for one in thresholds])


def random_update(
    size: float, shape: tuple[int, int], rank: int, rng: np.random.Generator
) -> Float[np.ndarray, "out in"]:
    """Draw an update of random direction with a given Frobenius norm and rank: the control."""
    update = rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))
    return np.asarray(update * (size / np.linalg.norm(update)))
