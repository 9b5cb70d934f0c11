"""Load a model for a command, with as many threads as it can use."""

import os

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from critical_phase.checkpoints import load_model

SMALL = 20_000_000
"""Parameters below which a second thread costs more than it gives, and much on a busy machine."""


def load(
    name: str, *, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model and its tokenizer; a small one on the processor gets one thread.

    An `OMP_NUM_THREADS` of the user's wins.

    Args:
        name: As of `load_model`.
        dtype: Type of the weights.
        device: Where the model lives.

    Raises:
        CheckpointError: No such model, or its files cannot be read.
    """
    model, tokenizer = load_model(name, dtype=dtype, device=device)
    small = sum(weight.numel() for weight in model.parameters()) < SMALL
    if small and device == "cpu" and not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(1)
    return model, tokenizer
