"""How a model turns its last hidden state into logits: final norm, then unembedding."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.errors import ShapeError

SINGLE = 1024
"""Width from which products with the metric are made in float32, in half the time."""


@dataclass(frozen=True, slots=True)
class ReadOut:
    """The unembedding as a metric on normalised states.

    With u a state after the final norm without its weight, u' gram u is the variance of its
    logits over the vocabulary. A constant added to all logits changes no likelihood and is not
    counted. A bias of norm or unembedding drops out of differences.
    """

    gram: Float[np.ndarray, "d d"]
    """Covariance over the vocabulary of unembedding rows times the final norm's weight."""
    epsilon: float
    """What the final norm adds to the mean square."""
    centred: bool
    """Whether it takes the mean out first (LayerNorm); if not, it only scales (RMSNorm)."""
    tokens: int
    """Size of the vocabulary."""
    capped: bool = False
    """Whether logits are capped after that, which is left out."""

    def __post_init__(self) -> None:
        """Refuse what is no metric."""
        if self.gram.shape[0] != self.gram.shape[1] or not np.isfinite(self.gram).all():
            raise ShapeError(f"a metric is square and finite, found {self.gram.shape}")

    def normalised(self, states: Float[np.ndarray, "row d"]) -> Float[np.ndarray, "row d"]:
        """Apply the final norm without its weight, exactly."""
        if self.centred:
            states = states - states.mean(axis=1, keepdims=True)
        size = np.sqrt((states**2).mean(axis=1, keepdims=True) + self.epsilon)
        return np.asarray(states / size)

    def spread(self, states: Float[np.ndarray, "row d"]) -> Float[np.ndarray, " row"]:
        """Return the standard deviation of logits over the vocabulary, in nats.

        Args:
            states: After the norm, or differences of such.
        """
        kind = np.float64 if self.gram.shape[0] < SINGLE else np.float32
        seen = states.astype(kind, copy=False) @ self.gram.astype(kind, copy=False)
        squares = np.einsum("ij,ij->i", seen, states)
        return np.asarray(np.sqrt(np.maximum(squares, 0.0)))
