"""Prove that adapters reach the model: a stale one looks exactly like a real result."""

import copy
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor

from critical_phase.checkpoints import (
    AdapterSlot,
    Checkpoint,
    load_adapter,
    quiet_peft,
    tensors_sha256,
)
from critical_phase.errors import CheckpointError

_TOLERANCE = {torch.float32: 1e-4}


def is_neutral(checkpoint: Checkpoint) -> bool:
    """Tell whether an adapter changes nothing: plain LoRA factors with every B zero."""
    tensors = load_adapter(checkpoint.path)
    up = [t for name, t in tensors.items() if "lora_B" in name or "lora_embedding_B" in name]
    plain = all("lora_A" in n or "lora_B" in n or "lora_embedding" in n for n in tensors)
    return plain and bool(up) and not any(bool(t.any()) for t in up)


def is_whole(checkpoint: Checkpoint) -> bool:
    """Tell whether the file still holds the tensors that were listed."""
    try:
        return tensors_sha256(load_adapter(checkpoint.path)) == checkpoint.sha256
    except CheckpointError:
        return False


@torch.no_grad()
def fresh_logits(base: Any, checkpoint: Checkpoint, ids: Tensor) -> Tensor:
    """Compute logits through PEFT's own loading, on a copy of the base model."""
    with quiet_peft():
        wrapper = PeftModel.from_pretrained(copy.deepcopy(base), str(checkpoint.path)).eval()
    logits: Tensor = wrapper(input_ids=ids, use_cache=False).logits
    return logits.float().cpu()


@torch.no_grad()
def check_landing(slot: AdapterSlot, checkpoint: Checkpoint, ids: Tensor, expected: Tensor) -> None:
    """Compare the slot's logits with those of a fresh load, and with the base model's.

    Raises:
        CheckpointError: The adapter did not arrive as PEFT would have loaded it.
    """
    slot.load(checkpoint)
    ours = slot.model(input_ids=ids, use_cache=False).logits.float().cpu()
    with slot.base():
        base = slot.model(input_ids=ids, use_cache=False).logits.float().cpu()
    limit = _TOLERANCE.get(slot.model.dtype, 5e-2)
    scale = float(expected.abs().max())
    gap = float((ours - expected).abs().max()) / scale
    if not gap <= limit:
        raise CheckpointError(
            f"the adapter in the slot differs from a fresh load by {gap:.1e} of the largest logit",
            where=str(checkpoint.path),
            fix="this kind of adapter is not supported in place; please report its config",
        )
    if torch.equal(ours, base):
        raise CheckpointError(
            "a non-zero adapter changes no logit at all", where=str(checkpoint.path)
        )


class StaleAdapters:
    """Refuses two different adapters that give the very same log-probabilities."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._seen: dict[str, tuple[str, Checkpoint]] = {}

    def check(self, name: str, checkpoint: Checkpoint | None, scores_sha256: str) -> None:
        """Note one unit; adapters that change nothing are allowed to agree.

        Raises:
            CheckpointError: Another adapter gave exactly these log-probabilities.
        """
        if checkpoint is None:
            return
        before, other = self._seen.setdefault(scores_sha256, (name, checkpoint))
        if other.sha256 == checkpoint.sha256 or (is_neutral(other) and is_neutral(checkpoint)):
            return
        raise CheckpointError(
            f"{name} and {before} hold different adapters ({checkpoint.sha256[:8]}, "
            f"{other.sha256[:8]}) but give exactly the same log-probabilities: "
            "the adapter did not reach the model",
            where=str(checkpoint.path),
            fix="check that the adapter targets modules of this base model",
        )
