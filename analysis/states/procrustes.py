"""Angle between two tables after the best rotation, scale and shift.

A metric (2110.14739), 0 for y = c x Q + b and pi/2 where nothing is shared. For fewer rows
than dimensions it is small for independent tables too: compare at equal rows, and with the
angle of permuted rows beside it.
"""

import numpy as np
from jaxtyping import Float


def procrustes_angle(x: Float[np.ndarray, "n p"], y: Float[np.ndarray, "n q"]) -> float:
    """Return arccos of the nuclear norm of x'y over the norms of centred x and y, in radians.

    Args:
        x: Rows of one table.
        y: The same rows of the other.

    Returns:
        0 to pi/2; NaN where a table has no spread.
    """
    x, y = _slim(x - x.mean(axis=0)), _slim(y - y.mean(axis=0))
    norms = np.linalg.norm(x) * np.linalg.norm(y)
    if not norms > 0:
        return float("nan")
    shared = np.linalg.svd(x.T @ y, compute_uv=False).sum()
    return float(np.arccos(min(shared / norms, 1.0)))


def permuted_angle(
    x: Float[np.ndarray, "n p"], y: Float[np.ndarray, "n q"], rng: np.random.Generator
) -> float:
    """Return the angle with the rows of y in random order: what independent tables give."""
    return procrustes_angle(x, y[rng.permutation(y.shape[0])])


def _slim(x: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n _r"]:
    """Rotate a table that is wider than long into as many columns as rows: a rotation is free."""
    if x.shape[1] <= x.shape[0]:
        return x
    return np.asarray(np.linalg.qr(x.T, mode="r")).T
