"""The base's own biases, which adapters with `bias="all"` or `"lora_only"` write over.

PEFT trains such biases in place and leaves them in when the adapter is switched off, with a
warning: what is then taken for the base is not the base.
"""

import contextlib
import warnings
from collections.abc import Iterator

import torch

from critical_phase.checkpoints.series import Checkpoint, adapter_config

Biases = list[tuple[torch.nn.Parameter, torch.Tensor]]
"""Parameters that an adapter may write over, and what the base has there."""


def base_biases(model: torch.nn.Module, checkpoint: Checkpoint) -> Biases:
    """Copy the biases of a base before an adapter is put onto it; none where it trains none."""
    if adapter_config(checkpoint.path).get("bias", "none") == "none":
        return []
    named = model.named_parameters()
    return [(p, p.detach().clone()) for name, p in named if name.endswith("bias")]


@contextlib.contextmanager
def without_biases(biases: Biases) -> Iterator[None]:
    """Put the base's biases back for the length of a block, and the trained ones after it."""
    trained = [live.data for live, _ in biases]
    for live, original in biases:
        live.data = original
    try:
        with warnings.catch_warnings():  # that the biases stay in: they do not
            warnings.filterwarnings("ignore", message="Careful, disabling adapter layers")
            yield
    finally:
        for (live, _), tensor in zip(biases, trained, strict=True):
            live.data = tensor
