"""Adjusting p-values of many tests: false discovery rate and max-T."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.stats import false_discovery_control


def adjust(p_values: Sequence[float]) -> Float[np.ndarray, " test"]:
    """Return Benjamini-Hochberg adjusted p-values."""
    if not len(p_values):
        return np.empty(0)
    return np.asarray(false_discovery_control(np.asarray(p_values, dtype=np.float64)))


def max_t(
    observed: Float[np.ndarray, " cell"], null: Float[np.ndarray, "permutation cell"]
) -> Float[np.ndarray, " cell"]:
    """Adjust cells by the largest statistic of each permutation, the same in every cell."""
    largest = null.max(axis=1)
    above = (largest[:, None] >= observed[None, :]).sum(axis=0)
    return np.asarray((1 + above) / (1 + largest.size))
