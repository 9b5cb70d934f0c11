"""Prove that adapters reach the model: a stale one looks exactly like a real result."""

import copy
import re
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM

from critical_phase.checkpoints import (
    AdapterSlot,
    Checkpoint,
    FullSlot,
    hash_checkpoint,
    load_adapter,
    quiet_peft,
)
from critical_phase.checkpoints.folders import SavedStep
from critical_phase.errors import CheckpointError

_TOLERANCE = {torch.float32: 1e-4}


def is_neutral(checkpoint: Checkpoint) -> bool:
    """Tell whether an adapter changes nothing: plain LoRA, one factor of every pair zero."""
    if checkpoint.kind != "adapter":
        return checkpoint.kind == "base"
    tensors = load_adapter(checkpoint.path)
    up = {name: t for name, t in tensors.items() if "lora_B" in name or "lora_embedding_B" in name}
    plain = all("lora_A" in n or "lora_B" in n or "lora_embedding" in n for n in tensors)
    down = {n: tensors.get(re.sub(r"(lora(_embedding)?)_B", r"\1_A", n)) for n in up}
    still = all(_zero(tensor) or _zero(down[name]) for name, tensor in up.items())
    return plain and bool(up) and still


def _zero(tensor: Tensor | None) -> bool:
    return tensor is not None and not bool(tensor.any())


def is_whole(checkpoint: Checkpoint) -> bool:
    """Tell whether the file still holds the tensors that were listed."""
    saved = SavedStep(
        checkpoint.step, "full" if checkpoint.kind == "full" else "adapter", checkpoint.path
    )
    try:
        return hash_checkpoint(saved).sha256 == checkpoint.sha256
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
def fresh_full_logits(base: Any, checkpoint: Checkpoint, ids: Tensor) -> Tensor:
    """Compute logits of full weights through transformers' own loading."""
    model: Any = AutoModelForCausalLM.from_pretrained(
        checkpoint.path,
        dtype=base.dtype,
        use_safetensors=True,
        attn_implementation=base.config._attn_implementation,
    )
    logits: Tensor = model.to(base.device).eval()(input_ids=ids, use_cache=False).logits
    return logits.float().cpu()


@torch.no_grad()
def check_landing(
    slot: AdapterSlot | FullSlot, checkpoint: Checkpoint, ids: Tensor, expected: Tensor
) -> None:
    """Compare the slot's logits with those of a fresh load, and with the base model's.

    Raises:
        CheckpointError: The checkpoint did not arrive as it is loaded elsewhere.
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
            f"the weights in the slot differ from a fresh load by {gap:.1e} of the largest logit",
            where=str(checkpoint.path),
            fix="this kind of checkpoint is not supported in place; please report its config",
        )
    if torch.equal(ours, base):
        raise CheckpointError(
            "weights that differ from the base change no logit at all", where=str(checkpoint.path)
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
            f"{name} and {before} hold different {_noun(checkpoint)} ({checkpoint.sha256[:8]}, "
            f"{other.sha256[:8]}) but give exactly the same log-probabilities: "
            "the checkpoint did not reach the model",
            where=str(checkpoint.path),
            fix="check that it belongs to this base model",
        )


def _noun(checkpoint: Checkpoint) -> str:
    return "weights" if checkpoint.kind == "full" else "adapters"
