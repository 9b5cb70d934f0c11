"""Largest eigenvalue of the Hessian of a head's training loss, and of it under Adam's scaling.

Plain gradient descent at a step size eta is unstable where it exceeds 2/eta; Adam where the
Hessian divided by its own scaling P does, by (2 + 2 beta1) / ((1 - beta1) eta) = 38/eta
(Cohen et al. 2022, https://arxiv.org/abs/2207.14484).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from critical_phase.checkpoints import Example
from critical_phase.checkpoints.answer_loss import collate, summed_answer_loss
from critical_phase.errors import CheckpointError
from critical_phase.probes.held_adapter import refuse_training_mode
from critical_phase.probes.lanczos import TopEigenvalue, top_eigenvalue
from critical_phase.probes.llc_sampler import parts_of


@dataclass(frozen=True, slots=True)
class Search:
    """How eigenvalues are looked for."""

    most: int = 30
    """Hessian-vector products of one search before it ends unconverged."""
    tolerance: float = 0.05
    """Relative residual that is wanted."""
    batch: int = 64
    """Examples of one pass. With all in one the graph is kept between products, else made anew."""


class HessianProducts:
    """The Hessian of the mean loss per answer token of some examples, as a linear map.

    Products are second derivatives by automatic differentiation. Attention takes its plain
    form: the fused kernels have no second derivative.
    """

    def __init__(
        self,
        model: Any,
        parameters: Mapping[str, Tensor],
        examples: Sequence[Example],
        batch: int,
    ) -> None:
        """Note everything.

        Raises:
            ConfigError: The model is in training mode.
        """
        refuse_training_mode(model)
        self._model, self._examples = model, examples
        self._tensors = list(parameters.values())
        self._parts = parts_of(len(examples), batch)
        self._tokens = sum(len(e.answer_ids) - (not e.question_ids) for e in examples)
        self._kept: list[Tensor] | None = None

    @property
    def size(self) -> int:
        """Count the parameters."""
        return sum(tensor.numel() for tensor in self._tensors)

    @property
    def device(self) -> torch.device:
        """Say where the parameters are."""
        return self._tensors[0].device

    def times(self, vector: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Multiply a vector, in the order of the parameters, by the Hessian.

        Raises:
            CheckpointError: A part of the model has no second derivative, or it is not finite.
        """
        pieces = torch.split(vector, [tensor.numel() for tensor in self._tensors])
        along = [p.view_as(t).to(t.dtype) for p, t in zip(pieces, self._tensors, strict=True)]
        total = torch.zeros_like(vector)
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            for place in range(len(self._parts)):
                total += self._part(place, along)
        if not bool(total.isfinite().all()):
            raise CheckpointError(
                "a second derivative of the training loss is no finite number",
                fix="training diverged, or the weights are damaged: leave this step out",
            )
        return total

    def _part(self, place: int, along: Sequence[Tensor]) -> Float[Tensor, " n"]:
        slopes = self._slopes(place)
        inner = torch.stack([(g * v).sum() for g, v in zip(slopes, along, strict=True)]).sum()
        try:
            found = torch.autograd.grad(
                inner, self._tensors, retain_graph=self._kept is not None, materialize_grads=True
            )
        except RuntimeError as error:
            raise _no_second(error) from error
        return torch.cat([g.double().flatten() for g in found])

    def _slopes(self, place: int) -> list[Tensor]:
        """Return the gradient of one part's share of the loss, itself differentiable."""
        if self._kept is not None:
            return self._kept
        batch = [self._examples[i] for i in self._parts[place].tolist()]
        tokens, mask, labels = (t.to(self._model.device) for t in collate(batch, 0))
        logits = self._model(input_ids=tokens, attention_mask=mask, use_cache=False).logits
        loss = summed_answer_loss(logits, labels) / self._tokens
        slopes = list(
            torch.autograd.grad(loss, self._tensors, create_graph=True, materialize_grads=True)
        )
        if len(self._parts) == 1:
            self._kept = slopes
        return slopes


def sharpness(
    products: HessianProducts,
    generator: torch.Generator,
    search: Search,
    scaling: Float[Tensor, " n"] | None = None,
) -> TopEigenvalue:
    """Find the largest eigenvalue of H, or of P^-1 H for a positive diagonal P.

    Args:
        products: H.
        generator: Draws the vector the search starts from.
        search: When it ends.
        scaling: Diagonal of P: eigenvalues of P^-1 H are those of P^-1/2 H P^-1/2.
    """
    start = torch.randn(products.size, generator=generator, dtype=torch.float64)
    start = start.to(products.device)
    root = None if scaling is None else scaling.double().rsqrt()

    def times(vector: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return products.times(vector) if root is None else root * products.times(root * vector)

    return top_eigenvalue(times, start, most=search.most, tolerance=search.tolerance)


def _no_second(error: RuntimeError) -> CheckpointError:
    return CheckpointError(
        f"a part of this model has no second derivative: {str(error).splitlines()[0]}",
        fix="give --samples 0 to leave sharpness out",
    )
