"""How far hidden states moved, and how much of it is one constant vector."""

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inputs import Rows, mean_by_question


def relative_displacement(
    rows: Rows, base: Float[np.ndarray, "row d"], now: Float[np.ndarray, "row d"]
) -> Float[np.ndarray, " question"]:
    """Return the norm of the change over the norm of the base state, per question."""
    size = np.linalg.norm(base, axis=1)
    moved = np.linalg.norm(now - base, axis=1)
    return mean_by_question(rows, moved / np.maximum(size, 1e-30))


def constant_shift(
    rows: Rows, change: Float[np.ndarray, "row d"]
) -> tuple[float, Float[np.ndarray, " question"]]:
    """Return the share of squared change that is one vector common to all questions.

    The block U-form uses pairs of rows from different questions only, so neither noise
    nor effects of single questions count.

    Args:
        rows: The rows.
        change: State minus base state.

    Returns:
        The share (phi_B) and its jackknife pseudo-values per question; NaN without change.
    """
    starts = np.flatnonzero(np.r_[True, np.diff(rows.question) > 0])
    sums = np.add.reduceat(change, starts, axis=0)
    sizes = np.bincount(rows.question).astype(np.float64)
    energy = np.add.reduceat((change**2).sum(axis=1), starts)
    total, own = sums.sum(axis=0), (sums**2).sum(axis=1)
    if energy.sum() <= 0:
        return float("nan"), np.full(sizes.size, np.nan)
    whole = _share(float(total @ total), own.sum(), sizes.sum(), (sizes**2).sum(), energy.sum())
    without = _share(
        total @ total - 2 * sums @ total + own,
        own.sum() - own,
        sizes.sum() - sizes,
        (sizes**2).sum() - sizes**2,
        energy.sum() - energy,
    )
    return float(whole), sizes.size * whole - (sizes.size - 1) * without


def _share(
    length: Float[np.ndarray, "*q"] | float,
    own: Float[np.ndarray, "*q"] | float,
    rows: Float[np.ndarray, "*q"] | float,
    pairs: Float[np.ndarray, "*q"] | float,
    energy: Float[np.ndarray, "*q"] | float,
) -> Float[np.ndarray, "*q"]:
    """Return the mean inner product between questions over the mean square."""
    mean = np.asarray(energy / rows)
    between = np.asarray((length - own) / (rows**2 - pairs))
    return np.asarray(np.divide(between, mean, out=np.zeros_like(between), where=mean > 0))
