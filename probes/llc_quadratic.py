"""A loss whose learning coefficient is known, for the sampler to be tried on.

Example i has the loss 1/2 sum_j h_j (w_j - c_ij)^2 with centres c of variance 1/h_j, so the
gradient of single examples scatters as it does where a model is right (covariance = curvature).
Over centred centres the mean is 1/2 sum_j h_j w_j^2 and a constant.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from critical_phase.probes.llc_sampler import Chain, Sampling, losses_at, sample_chain

DIRECTIONS = 200
"""Parameters of the quadratic of the control."""

SPREAD = (0.01, 2.0)
"""Curvatures of the control, n beta h / gamma: from nearly flat to stiffer than the pull."""


class Quadratic:
    """A mean of quadratics about scattered centres."""

    def __init__(
        self, curvature: Float[Tensor, " direction"], count: int, generator: torch.Generator
    ) -> None:
        """Draw the centres and stand at the minimum."""
        size = curvature.numel()
        centres = torch.randn((count, size), generator=generator, dtype=torch.float64)
        centres -= centres.mean(dim=0)
        self._curvature = curvature.double()
        self._centres = centres / self._curvature.sqrt()
        self.parameters: Mapping[str, Tensor] = {
            "w": torch.zeros(size, dtype=torch.float64, requires_grad=True)
        }

    @property
    def count(self) -> int:
        """Examples."""
        return len(self._centres)

    def losses(self, chosen: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Return the loss of each chosen example."""
        return 0.5 * ((self.parameters["w"] - self._centres[chosen]) ** 2 @ self._curvature)


def known_llc(curvature: Float[Tensor, " direction"], heat: float, gamma: float) -> float:
    """Return sum h n beta / (2 (h n beta + gamma)); half the directions without a pull."""
    stiff = heat * curvature.double()
    return float((stiff / (stiff + gamma)).sum() / 2)


def quadratic_control(
    sampling: Sampling, count: int, seed: Sequence[int]
) -> tuple[float, tuple[Chain, ...]]:
    """Run the sampler of a series, as it is set, on a quadratic of as many examples.

    Args:
        sampling: Settings of the series.
        count: Examples.
        seed: Start of centres and chains.

    Returns:
        The known value, and what each chain finds.
    """
    heat = sampling.heat(count)
    low, high = (torch.log10(torch.tensor(s, dtype=torch.float64)) for s in SPREAD)
    curvature = torch.logspace(float(low), float(high), DIRECTIONS, dtype=torch.float64)
    curvature = curvature * sampling.gamma / heat
    target = Quadratic(curvature, count, torch.Generator().manual_seed(sum(seed) + 1))
    here = losses_at(target, count)
    chains = tuple(
        sample_chain(target, here, sampling, (*seed, 7, number))
        for number in range(sampling.chains)
    )
    return known_llc(curvature, heat, sampling.gamma), chains
