"""The next-token distribution that two heads and their base make together.

log p(v) = L_base(v) + a * (L+(v) - L-(v)) + constant, with L in log-probabilities: what heads
shift the base by (DExperts, Liu et al. 2105.03023, eq. 1; log-probabilities and logits differ by
a constant per model, which the constant takes in). Tokens that a reference model finds far less
likely than its best one are left out (contrastive decoding, Li et al. 2210.15097, eq. 3): a ratio
of two tiny probabilities says nothing, and would win.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from critical_phase.errors import ConfigError

Reference = Literal["base", "positive"]
BASE, POSITIVE, NEGATIVE, MERGED = "base", "positive", "negative", "merged"


@dataclass(frozen=True, slots=True)
class Contrast:
    """How strongly heads shift the base, and which tokens may be taken at all."""

    alpha: float = 1.0
    """Multiple of L+ - L-; 0 is the base."""
    plausibility: float = 0.1
    """Least probability of a token, as a share of the reference's best one: 0 lets all pass,
    1 the reference's best alone. 0.1 is the value of Li et al."""
    reference: Reference = "base"
    """Who says what is plausible. With the base, alpha = 0 is the base for every plausibility;
    the positive head lets through what only it has learnt to say."""

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing.

        Raises:
            ConfigError: alpha is not finite, or the plausibility no share.
        """
        if not math.isfinite(self.alpha):
            raise ConfigError(f"alpha is a finite number, found {self.alpha}")
        if not 0 <= self.plausibility <= 1:
            raise ConfigError(f"plausibility is a share from 0 to 1, found {self.plausibility}")


def log_probs(logits: Float[Tensor, "*line vocabulary"]) -> Float[Tensor, "*line vocabulary"]:
    """Normalise logits in float32, or in float64 where they have it."""
    kind = torch.promote_types(logits.dtype, torch.float32)
    return logits.to(kind).log_softmax(-1)


def combine(
    found: Mapping[str, Float[Tensor, "*line vocabulary"]], contrast: Contrast
) -> Float[Tensor, "*line vocabulary"]:
    """Return the log-probabilities of the next token under base and heads together.

    Args:
        found: Log-probabilities by model: `base`, `positive` and `negative`.
        contrast: How they are combined.

    Returns:
        Normalised; minus infinity for tokens that are left out.
    """
    base = found[BASE]
    shifted = base
    if contrast.alpha != 0:
        gap = found[POSITIVE] - found[NEGATIVE]
        # Tokens that no model can give (minus infinity in all) have no ratio.
        shifted = base + contrast.alpha * torch.where(torch.isfinite(base), gap, 0.0)
    kept = plausible(found[contrast.reference], contrast.plausibility)
    return shifted.masked_fill(~kept, -torch.inf).log_softmax(-1)


def plausible(
    reference: Float[Tensor, "*line vocabulary"], share: float
) -> Bool[Tensor, "*line vocabulary"]:
    """Mark tokens at least so likely as a share of the likeliest; that one is always marked."""
    best = reference.amax(-1, keepdim=True)
    if share == 0:
        return torch.ones_like(reference, dtype=torch.bool)
    return (reference >= best + math.log(share)) | (reference == best)
