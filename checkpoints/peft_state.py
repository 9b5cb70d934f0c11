"""The two things asked of PEFT everywhere: its state, and its silence."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from peft import get_peft_model_state_dict


def adapter_state(adapter: Any) -> dict[str, torch.Tensor]:
    """Return the adapter's tensors under the names of PEFT files, aliasing the live ones.

    Whole embedding matrices are never added: PEFT's own guess asks the network.
    """
    state: dict[str, torch.Tensor] = get_peft_model_state_dict(adapter, save_embedding_layers=False)
    return state


@contextlib.contextmanager
def quiet_peft() -> Iterator[None]:
    """Hide a deprecation inside PEFT that no user of ours can mend."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
        yield
