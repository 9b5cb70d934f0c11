"""LEACE: the least change of vectors after which no linear map reads a concept from them.

r(x) = x - W+ P W (x - mu), W = S^(-1/2), P the projection on the columns of W S_xz.
Reference: 2306.03819, theorem 4.2.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.errors import FitError

_RANK = 1e-10
"""Singular values below this part of the largest are nothing: relative, since an absolute limit
erases nothing where classes are unequal and the concept is weak."""
_NOTHING = 1e-12


@dataclass(frozen=True, eq=False)
class Leace:
    """The map x - B A'(x - mu)."""

    reads: Float[np.ndarray, "d k"]
    writes: Float[np.ndarray, "d k"]
    mean: Float[np.ndarray, " d"]

    def __call__(self, x: Float[np.ndarray, "row d"]) -> Float[np.ndarray, "row d"]:
        """Erase."""
        return np.asarray(x - (x - self.mean) @ self.reads @ self.writes.T)


def fit_leace(
    x: Float[np.ndarray, "row d"], z: Float[np.ndarray, "row k"], shrinkage: float
) -> Leace:
    """Fit the map on rows that are used for nothing else.

    Args:
        x: Vectors.
        z: The concept, one column or more.
        shrinkage: Part of the covariance that is replaced by its mean variance in every
            direction, 0 to 1. It decides which change is least; the concept goes at any value.

    Raises:
        FitError: The rows do not vary with the concept, so there is nothing to erase.
    """
    mean, n = x.mean(axis=0), len(x)
    apart, concept = x - mean, z - z.mean(axis=0)
    cross = apart.T @ concept / n
    spread = apart.T @ apart / n
    size = float(np.trace(spread)) / x.shape[1]
    if not float(np.abs(cross).max()) > _NOTHING * size**0.5 * float(np.abs(concept).max()):
        raise FitError("vectors do not vary with the concept, so there is nothing to erase")
    values, axes = np.linalg.eigh((1 - shrinkage) * spread + shrinkage * size * np.eye(len(mean)))
    kept = values > values.max() * len(values) * np.finfo(np.float64).eps
    roots, axes = np.sqrt(values[kept]), axes[:, kept]
    whiten, back = axes / roots @ axes.T, axes * roots @ axes.T
    columns, sizes, _ = np.linalg.svd(whiten @ cross, full_matrices=False)
    columns = columns[:, sizes > _RANK * sizes[0]]
    return Leace(whiten @ columns, back @ columns, mean)


def cross_covariance(
    x: Float[np.ndarray, "row d"], z: Float[np.ndarray, "row k"]
) -> Float[np.ndarray, "d k"]:
    """Return the covariance of vectors and a concept."""
    return np.asarray((x - x.mean(axis=0)).T @ (z - z.mean(axis=0)) / len(x))
