"""The loss of a head: negative log-likelihood of answer tokens, and nothing else."""

from collections.abc import Sequence

import torch
from torch.nn.functional import cross_entropy

from critical_phase.checkpoints.examples import Example

IGNORED = -100


def collate(
    batch: Sequence[Example], pad_id: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pad rows on the right; labels are -100 everywhere but on answer tokens."""
    width = max(len(item.question_ids) + len(item.answer_ids) for item in batch)
    tokens = torch.full((len(batch), width), pad_id)
    mask = torch.zeros((len(batch), width), dtype=torch.long)
    labels = torch.full((len(batch), width), IGNORED)
    for row, item in enumerate(batch):
        start, end = len(item.question_ids), len(item.question_ids) + len(item.answer_ids)
        tokens[row, :end] = torch.tensor(item.question_ids + item.answer_ids)
        mask[row, :end] = 1
        labels[row, start:end] = torch.tensor(item.answer_ids)
    return tokens, mask, labels


def summed_answer_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Sum the negative log-likelihood over the answer tokens of a batch, in float32 nats."""
    predictions = logits[:, :-1].float().flatten(0, 1)
    return cross_entropy(
        predictions, labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
    )


def answer_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood over the answer tokens of a batch, in float32 nats."""
    return summed_answer_loss(logits, labels) / (labels[:, 1:] != IGNORED).sum()
