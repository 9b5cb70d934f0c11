"""How much the training gradient differs between examples, at one checkpoint.

|g_i|^2 of single examples and |mean g|^2 of their mean give both parts of the gradient noise
scale B_simple = tr(cov) / |G|^2 without bias; their ratio has some
(McCandlish et al. 2018, https://arxiv.org/abs/1812.06162, appendix A.1).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from critical_phase.checkpoints import Example
from critical_phase.checkpoints.answer_loss import answer_loss, collate
from critical_phase.errors import CheckpointError


@dataclass(frozen=True, eq=False)
class GradientNorms:
    """Squared Euclidean norms of gradients with respect to all parameters of an adapter."""

    single: Float[np.ndarray, " example"]
    """Of the loss of each example alone, nats squared."""
    mean: float
    """Of the mean of those gradients."""
    loss: Float[np.ndarray, " example"]
    """Mean negative log-likelihood per answer token of each example, nats."""


def gradient_norms(
    model: Any, parameters: Mapping[str, Tensor], examples: Sequence[Example]
) -> GradientNorms:
    """Measure the gradient of the training loss, one example at a time.

    The loss of an example is what training averages: the mean over its answer tokens.
    The mean gradient gives every example the same weight; where answers differ in length
    a training batch weights them by tokens instead. At step 0 every B of a LoRA is zero,
    so only B has a gradient there.

    Args:
        model: The model with its adapter live and not merged into the weights.
        parameters: The adapter's tensors by name, with `requires_grad` set.
        examples: At least one.

    Raises:
        CheckpointError: A gradient is not finite, or none reaches the adapter.
    """
    tensors = list(parameters.values())
    total = [torch.zeros_like(tensor, dtype=torch.float64) for tensor in tensors]
    single, losses = np.zeros(len(examples)), np.zeros(len(examples))
    for index, example in enumerate(examples):
        loss = _loss(model, example)
        gradients = _gradients(loss, tensors)
        for kept, gradient in zip(total, gradients, strict=True):
            kept += gradient
        single[index] = _squared(gradients)
        losses[index] = float(loss.detach())
        if not np.isfinite(single[index]):
            raise CheckpointError(
                f"the gradient of example {index} ({example.question_id!r}) is {single[index]}",
                fix="training diverged, or the weights are damaged: leave this step out",
            )
    return GradientNorms(single, _squared([t / len(examples) for t in total]), losses)


def _loss(model: Any, example: Example) -> Tensor:
    tokens, mask, labels = (part.to(model.device) for part in collate([example], 0))
    with torch.enable_grad():
        logits = model(input_ids=tokens, attention_mask=mask, use_cache=False).logits
        return answer_loss(logits, labels)


def _gradients(loss: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Differentiate; a tensor that does not take part has a gradient of zeros."""
    found: Sequence[Tensor | None] = (
        torch.autograd.grad(loss, tensors, allow_unused=True) if loss.requires_grad else ()
    )
    if all(gradient is None for gradient in found):
        raise CheckpointError(
            "no gradient reaches the adapter", fix="this kind of adapter is not supported here"
        )
    pairs = zip(found, tensors, strict=True)
    return [torch.zeros_like(t) if gradient is None else gradient for gradient, t in pairs]


def _squared(gradients: Sequence[Tensor]) -> float:
    return float(sum(gradient.double().square().sum() for gradient in gradients))
