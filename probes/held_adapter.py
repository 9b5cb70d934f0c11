"""A checkpoint in the model with gradients, or a random twin of it, for the length of a block."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from critical_phase.checkpoints.random_adapter import random_twin
from critical_phase.errors import CheckpointError, ConfigError
from critical_phase.probes.slots import ModelSlot
from critical_phase.probes.units import Unit


@contextlib.contextmanager
def held_adapter(slot: ModelSlot, unit: Unit, what: str) -> Iterator[dict[str, Tensor]]:
    """Run a unit's adapter beside the base's weights and let gradients reach it.

    Args:
        slot: The model.
        unit: A checkpoint.
        what: What is done over an adapter, for the message.

    Yields:
        The adapter's tensors under the names of its file.

    Raises:
        CheckpointError: The checkpoint is full weights, or does not arrive.
    """
    if unit.checkpoint is not None and unit.checkpoint.kind == "full":
        raise CheckpointError(
            f"{what} over an adapter, and this holds full weights",
            where=str(unit.checkpoint.path),
            fix="train a LoRA",
        )
    with slot.holding(unit), slot.live() as live:
        yield live


def put_random_twin(unit: Unit, parameters: Mapping[str, Tensor], *, seed: int) -> None:
    """Put a random adapter of the same norm, module by module, in place of the unit's."""
    assert unit.checkpoint is not None
    twin = random_twin(unit.checkpoint, seed=seed)
    with torch.no_grad():
        for name, tensor in parameters.items():
            tensor.copy_(twin[name])


def refuse_training_mode(model: Any) -> None:
    """Refuse a model that is training: dropout would be part of the loss.

    Raises:
        ConfigError: A module is in training mode.
    """
    training = [name for name, module in model.named_modules() if module.training]
    if training:
        raise ConfigError(
            f"{len(training)} modules are in training mode, first {training[0] or 'the model'}",
            fix="call model.eval(): with dropout the loss at a checkpoint is not one number",
        )
