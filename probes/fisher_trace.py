"""Trace of the Fisher information of a model's answers, in the space of its merged weights.

For every question E |grad log p(y)|^2 over y drawn from the model itself. Contexts are the true
ones (teacher forcing): at every answer position a token is drawn given the question and the true
tokens before it. Given those contexts the draws are independent and every score has mean zero,
so the squared norm of the summed gradient has the mean sum_t tr F(context_t), without bias.
Reference: Achille, Rovere & Soatto 2017, https://arxiv.org/abs/1711.08856.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critical_phase.checkpoints import Example
from critical_phase.checkpoints.answer_loss import IGNORED, collate
from critical_phase.errors import CheckpointError
from critical_phase.probes.frozen import frozen
from critical_phase.probes.held_adapter import refuse_training_mode
from critical_phase.probes.llc_sampler import parts_of
from critical_phase.probes.weight_gradients import WeightGradients, adapted_modules


@dataclass(frozen=True, eq=False)
class SquaredNorms:
    """Squared norms of gradients with respect to merged weights, nats squared per weight squared.

    A question's answer counts as a whole: log-probabilities are summed over its tokens.
    """

    modules: tuple[str, ...]
    drawn: Float[np.ndarray, "draw module question"]
    """Of log p of tokens drawn from the model: their mean over draws is the Fisher trace."""
    true: Float[np.ndarray, "module question"]
    """Of log p of the true answer. No Fisher trace: it is small wherever the loss is small."""


def draw_uniforms(
    examples: Sequence[Example], draws: int, seed: int
) -> Float[np.ndarray, "question draw position"]:
    """Draw the numbers in [0, 1) that choose tokens, the same at every checkpoint."""
    longest = max(len(item.answer_ids) for item in examples)
    rng = np.random.default_rng([seed, 10])
    return rng.random((len(examples), draws, longest))


def squared_norms(
    model: Any,
    examples: Sequence[Example],
    uniforms: Float[np.ndarray, "question draw position"],
    batch: int,
) -> SquaredNorms:
    """Measure every question's gradients, several questions in one pass.

    Args:
        model: In evaluation mode, with an adapter live beside its weights.
        examples: Questions with their true answers.
        uniforms: Numbers that choose the tokens, in the order of the positions of each answer.
        batch: Questions of one pass; changes no number beyond rounding.

    Raises:
        ConfigError: The model is in training mode.
        CheckpointError: A value is not finite, or the adapter is not of linear modules.
    """
    refuse_training_mode(model)
    reader = WeightGradients(adapted_modules(model))
    draws = uniforms.shape[1]
    drawn = np.zeros((draws, len(reader.names), len(examples)))
    true = np.zeros((len(reader.names), len(examples)))
    for part in parts_of(len(examples), batch):
        chosen = part.tolist()
        found = _of_batch(model, reader, [examples[i] for i in chosen], uniforms[chosen])
        drawn[..., chosen], true[:, chosen] = found[:-1], found[-1]
    _check_finite(examples, drawn.sum(axis=(0, 1)) + true.sum(axis=0))
    return SquaredNorms(reader.names, drawn, true)


def _of_batch(
    model: Any,
    reader: WeightGradients,
    batch: Sequence[Example],
    uniforms: Float[np.ndarray, "question draw position"],
) -> Float[np.ndarray, "objective module question"]:
    """Differentiate one pass for every draw, and last for the true answers."""
    tokens, mask, labels = (part.to(model.device) for part in collate(batch, 0))
    with torch.enable_grad(), frozen(model):
        with reader.attached():
            logits = model(input_ids=tokens, attention_mask=mask, use_cache=False).logits
        answer = labels[:, 1:] != IGNORED
        logs = logits[:, :-1][answer].float().log_softmax(-1)
        targets = [*_draws(logs.detach(), answer, uniforms), labels[:, 1:][answer]]
        found = []
        for place, target in enumerate(targets, start=1):
            objective = logs.gather(1, target[:, None]).sum()
            found.append(
                reader.squared_norms(objective, len(batch), more=place < len(targets)).cpu()
            )
    return torch.stack(found).numpy()


def _draws(
    logs: Float[Tensor, "place token"],
    answer: Bool[Tensor, "question slot"],
    uniforms: Float[np.ndarray, "question draw position"],
) -> Iterator[Int[Tensor, " place"]]:
    """Draw a token at every place by inverting the distribution function, once per draw."""
    heights = logs.double().exp().cumsum(-1)
    inside = np.concatenate([np.arange(count) for count in answer.sum(1).tolist()])
    question = answer.nonzero()[:, 0].cpu().numpy()
    for draw in range(uniforms.shape[1]):
        level = torch.from_numpy(uniforms[question, draw, inside]).to(logs.device)
        # times the last height: rounding may leave the sum a little beside 1
        target = torch.searchsorted(heights, (level * heights[:, -1])[:, None], right=True)[:, 0]
        yield target.clamp(max=logs.shape[1] - 1)


def _check_finite(examples: Sequence[Example], sums: Float[np.ndarray, " question"]) -> None:
    odd = np.flatnonzero(~np.isfinite(sums))
    if odd.size:
        first = examples[int(odd[0])].question_id
        raise CheckpointError(
            f"the gradient of question {first!r} is no finite number ({odd.size} such questions)",
            fix="training diverged, or the weights are damaged: leave this step out",
        )
