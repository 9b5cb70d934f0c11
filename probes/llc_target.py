"""What is sampled for a learning coefficient: the loss of a head's own training examples."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from critical_phase.checkpoints import Example
from critical_phase.checkpoints.answer_loss import IGNORED, collate
from critical_phase.errors import CheckpointError, ConfigError
from critical_phase.probes.held_adapter import refuse_training_mode
from critical_phase.probes.llc_sampler import gradients_of, parts_of

Sampled = Literal["factors", "b"]
"""Both factors of every low-rank update, or B alone while A stays as it is."""

_B = "lora_B"


class AnswerTarget:
    """Negative log-likelihood of whole answers; an example is one question with one answer.

    Its mean over all examples is the training loss (a mean over answer tokens) times the mean
    number of answer tokens, so both have the same minima; n counts answers, not tokens.
    """

    def __init__(
        self, model: Any, parameters: Mapping[str, Tensor], examples: Sequence[Example]
    ) -> None:
        """Refuse a model that is training: dropout would be part of the loss.

        Raises:
            ConfigError: A module is in training mode, or there are fewer than two examples.
        """
        refuse_training_mode(model)
        if len(examples) < 2:
            raise ConfigError(
                f"beta = 1/log n needs at least 2 examples, found {len(examples)}",
                fix="give more training examples",
            )
        self.parameters = parameters
        self._model, self._examples = model, examples

    @property
    def count(self) -> int:
        """Examples."""
        return len(self._examples)

    def losses(self, chosen: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Return the negative log-likelihood of each chosen answer, summed over its tokens."""
        batch = [self._examples[int(place)] for place in chosen]
        tokens, mask, labels = (part.to(self._model.device) for part in collate(batch, 0))
        logits = self._model(input_ids=tokens, attention_mask=mask, use_cache=False).logits
        flat = cross_entropy(
            logits[:, :-1].float().flatten(0, 1),
            labels[:, 1:].flatten(),
            ignore_index=IGNORED,
            reduction="none",
        )
        return flat.view(len(batch), -1).sum(dim=1)


def chosen_parameters(live: Mapping[str, Tensor], sampled: Sampled) -> dict[str, Tensor]:
    """Keep the tensors that are sampled.

    Raises:
        CheckpointError: The adapter has no B, or more than low-rank factors.
    """
    found = {name: t for name, t in live.items() if sampled == "factors" or _B in name}
    if not found:
        raise CheckpointError(
            "the adapter has no factor B", fix="give --sample factors, or a plain LoRA"
        )
    return found


def losses_and_slope(target: AnswerTarget, batch: int) -> tuple[Float[Tensor, " example"], float]:
    """Return the loss of every example and the norm of the gradient of their mean.

    The norm is 0 at a minimum; where it is not, the checkpoint has lower loss near it.
    """
    tensors = list(target.parameters.values())
    total = [torch.zeros_like(tensor, dtype=torch.float64) for tensor in tensors]
    kept = []
    for part in parts_of(target.count, batch):
        with torch.enable_grad():
            losses = target.losses(part)
            gradients = gradients_of(losses.sum(), tensors)
        kept.append(losses.detach().double().cpu())
        for whole, gradient in zip(total, gradients, strict=True):
            whole += gradient
    square = sum(float((whole / target.count).square().sum()) for whole in total)
    return torch.cat(kept), math.sqrt(square)


def norm_of(parameters: Mapping[str, Tensor]) -> float:
    """Return the Euclidean norm of all tensors together."""
    return math.sqrt(sum(float(t.detach().double().square().sum()) for t in parameters.values()))


def size_of(parameters: Mapping[str, Tensor]) -> int:
    """Count the numbers that are sampled."""
    return sum(t.numel() for t in parameters.values())
