"""How few dimensions carry a vector, and how few directions carry a cloud of them.

Reference: Hurley and Rickard 0811.4706 (Hoyer, Gini); 2603.03415 (L1, top energy, effective
rank and L0 as its code has them); 2402.17762 (massive dimensions).
"""

import math

import numpy as np
from jaxtyping import Bool, Float, Int

from critical_phase.errors import ShapeError

_TINY = 1e-300

MASSIVE_SIZE, MASSIVE_RATIO = 100.0, 1000.0
"""A massive dimension is above 100 and above 1000 times the median (2402.17762)."""


def hoyer(x: Float[np.ndarray, "*rest d"]) -> Float[np.ndarray, "*rest"]:
    """Return (sqrt n - L1/L2) / (sqrt n - 1): 1 for one active dimension, 0 for equal ones."""
    size, root = np.abs(x), np.sqrt(x.shape[-1])
    ratio = size.sum(axis=-1) / np.maximum(np.sqrt((size**2).sum(axis=-1)), _TINY)
    return np.asarray((root - ratio) / (root - 1))


def gini(x: Float[np.ndarray, "*rest d"]) -> Float[np.ndarray, "*rest"]:
    """Return the Gini index of the absolute values: 0 for equal ones, 1 - 1/n for one."""
    size, n = np.sort(np.abs(x), axis=-1), x.shape[-1]
    total = np.maximum(size.sum(axis=-1), _TINY)
    return np.asarray(2 * (size * np.arange(1, n + 1)).sum(axis=-1) / (n * total) - (n + 1) / n)


def participation(x: Float[np.ndarray, "*rest d"]) -> Float[np.ndarray, "*rest"]:
    """Return (sum x^2)^2 / (n sum x^4): 1 for equal dimensions, 1/n for one."""
    squares = x**2
    top, bottom = squares.sum(axis=-1) ** 2, x.shape[-1] * (squares**2).sum(axis=-1)
    return np.asarray(top / np.maximum(bottom, _TINY))


def kurtosis(x: Float[np.ndarray, "*rest d"]) -> Float[np.ndarray, "*rest"]:
    """Return mean x^4 / (mean x^2)^2, not centred and not excess: 3 for a Gaussian."""
    squares = x**2
    return np.asarray((squares**2).mean(axis=-1) / np.maximum(squares.mean(axis=-1) ** 2, _TINY))


def l1(x: Float[np.ndarray, "*rest d"]) -> Float[np.ndarray, "*rest"]:
    """Return sum |x|, divided by nothing, as in 2603.03415: lower is sparser, at equal scale."""
    return np.asarray(np.abs(x).sum(axis=-1))


def top_energy(x: Float[np.ndarray, "*rest d"], percent: int) -> Float[np.ndarray, "*rest"]:
    """Return the share of sum x^2 in the largest ceil(percent n / 100) dimensions (2603.03415)."""
    squares, n = x**2, x.shape[-1]
    keep = math.ceil(percent * n / 100)
    top = np.partition(squares, n - keep, axis=-1)[..., n - keep :].sum(axis=-1)
    return np.asarray(top / np.maximum(squares.sum(axis=-1), _TINY))


def effective_rank(x: Float[np.ndarray, "*rest d"]) -> Float[np.ndarray, "*rest"]:
    """Return exp(H(|x| / sum |x|)) / n: 1 for equal dimensions, 1/n for one (2603.03415)."""
    size = np.abs(x)
    share = size / np.maximum(size.sum(axis=-1, keepdims=True), _TINY)
    spread = -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=-1)
    return np.asarray(np.exp(spread) / x.shape[-1])


def l0(x: Float[np.ndarray, "*rest d"], eps: float) -> Float[np.ndarray, "*rest"]:
    """Return the share of |x| above a threshold that is fixed on the base, one per layer."""
    return np.asarray((np.abs(x) > eps).mean(axis=-1))


def l0_own(x: Float[np.ndarray, "*rest d"]) -> Float[np.ndarray, "*rest"]:
    """Return the share of |x| above the vector's own mean + 1 sd, as in 2603.03415."""
    size = np.abs(x)
    limit = size.mean(axis=-1, keepdims=True) + size.std(axis=-1, keepdims=True)
    return np.asarray((size > limit).mean(axis=-1))


def massive(x: Float[np.ndarray, "*rest d"]) -> Bool[np.ndarray, "*rest d"]:
    """Mark dimensions above 100 and above 1000 times the median of their vector (2402.17762)."""
    size = np.abs(x)
    median = np.median(size, axis=-1, keepdims=True)
    return np.asarray((size > MASSIVE_SIZE) & (size > MASSIVE_RATIO * median))


def largest_dimensions(x: Float[np.ndarray, "row d"]) -> Int[np.ndarray, " k"]:
    """Return the max(1, ceil(d / 100)) dimensions of largest mean |x|, ascending.

    They are found on the base and left out of the trimmed metrics of every checkpoint.
    """
    keep = max(1, math.ceil(0.01 * x.shape[1]))
    return np.sort(np.argsort(-np.abs(x).mean(axis=0), kind="stable")[:keep])


def covariance_spectrum(x: Float[np.ndarray, "row d"]) -> Float[np.ndarray, " eigen"]:
    """Return the eigenvalues of the covariance of rows, through the smaller of two Grams.

    Raises:
        ShapeError: Fewer than two rows.
    """
    if x.shape[0] < 2:
        raise ShapeError(f"asked for a covariance of {x.shape[0]} row, at least 2 are needed")
    centred = np.asarray(x, dtype=np.float64) - x.mean(axis=0, dtype=np.float64)
    gram = centred @ centred.T if x.shape[0] <= x.shape[1] else centred.T @ centred
    return np.asarray(np.maximum(np.linalg.eigvalsh(gram)[::-1], 0.0) / (x.shape[0] - 1))


def spectrum_participation(values: Float[np.ndarray, " eigen"]) -> float:
    """Return (sum v)^2 / sum v^2, a number of directions; capped by rows, so compare at equal n.

    An isotropic cloud of n rows in p dimensions has np / (n + p).
    """
    bottom = float((values**2).sum())
    return float(values.sum() ** 2 / bottom) if bottom > 0 else float("nan")


def spectrum_rank(values: Float[np.ndarray, " eigen"]) -> float:
    """Return exp(H(v / sum v)): the effective rank of a covariance, at most its rank."""
    total = float(values.sum())
    if total <= 0:
        return float("nan")
    share = values / total
    return float(np.exp(-(share * np.log(np.where(share > 0, share, 1.0))).sum()))
