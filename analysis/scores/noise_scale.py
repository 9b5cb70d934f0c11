"""The gradient noise scale: how many examples a step should average to see its direction.

Reference: 1812.06162, appendix A.1.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.errors import ShapeError


@dataclass(frozen=True, slots=True)
class NoiseScale:
    """Noise and signal of the gradient at each checkpoint."""

    value: Float[np.ndarray, "*rest"]
    """tr(Sigma) / |G|^2 in examples; NaN where no signal is told from the noise."""
    noise: Float[np.ndarray, "*rest"]
    """Estimate of tr(Sigma), without bias."""
    signal: Float[np.ndarray, "*rest"]
    """Estimate of |G|^2, without bias; may be negative where noise hides the signal."""


def noise_scale(
    single: Float[np.ndarray, "step example"], mean: Float[np.ndarray, "*rest"]
) -> NoiseScale:
    """Estimate the simple noise scale from squared gradient norms.

    Args:
        single: Squared norm of the gradient of each example alone.
        mean: Squared norm of the mean of these gradients.

    Returns:
        With n examples and s the mean of `single`: |G|^2 = (n mean - s) / (n - 1) and
        tr(Sigma) = n (s - mean) / (n - 1): batches of 1 and of n.

    Raises:
        ShapeError: Fewer than two examples.
    """
    count = single.shape[1]
    if count < 2:
        raise ShapeError(f"noise needs at least 2 gradients, found {count}", where="gradient_sq")
    return _scale(single.mean(axis=1), mean, count)


def _scale(
    single: Float[np.ndarray, "*rest"], mean: Float[np.ndarray, "..."], count: int
) -> NoiseScale:
    """Apply the estimators to means of single norms."""
    signal = (count * mean - single) / (count - 1)
    noise = count * (single - mean) / (count - 1)
    value = np.divide(noise, signal, out=np.full(signal.shape, np.nan), where=signal > 0)
    return NoiseScale(value, noise, signal)
