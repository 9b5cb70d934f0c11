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

_BOUNDS = {torch.float32: (1e-5, 1e-4)}
"""Rounding at its least and at its most, as shares of the largest logit."""
_COARSE = (1e-2, 5e-2)


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
def plain_logits(model: Any, ids: Tensor) -> Tensor:
    """Compute logits of a model as it is now."""
    logits: Tensor = model(input_ids=ids, use_cache=False).logits
    return logits.float().cpu()


def check_landing(
    slot: AdapterSlot | FullSlot,
    checkpoint: Checkpoint,
    ids: Tensor,
    expected: Tensor,
    before: Tensor,
) -> None:
    """Compare the slot's logits with those of a fresh load, and with the base model's.

    Logits may differ by rounding. Where that is more than a twentieth of what the checkpoint
    changes at all, more than rounding at its least is refused: in a checkpoint that changes
    little, a wrong scaling is a small difference too.

    Args:
        slot: Gets the checkpoint.
        checkpoint: Changes the base.
        ids: A row of tokens [1, token].
        expected: Logits of a fresh load.
        before: Logits of the base before the slot was put onto it.

    Raises:
        CheckpointError: The checkpoint did not arrive as it is loaded elsewhere, or does not
            leave when it is taken out.
    """
    slot.load(checkpoint)
    ours = plain_logits(slot.model, ids)
    with slot.base():
        base = plain_logits(slot.model, ids)
    where, scale = str(checkpoint.path), float(expected.abs().max())
    least, most = (bound * scale for bound in _BOUNDS.get(slot.model.dtype, _COARSE))
    effect = float((expected - before).abs().max())
    gap = float((ours - expected).abs().max())
    if not gap <= min(most, max(least, 0.05 * effect)):
        raise CheckpointError(
            f"the weights in the slot differ from a fresh load by {gap / scale:.1e} of the "
            f"largest logit, where the checkpoint changes {effect / scale:.1e}",
            where=where,
            fix="this kind of checkpoint is not supported in place; please report its config",
        )
    if torch.equal(ours, base):
        raise CheckpointError(
            "weights that differ from the base change no logit at all", where=where
        )
    left = float((base - before).abs().max())
    if not left <= least:
        raise CheckpointError(
            f"the base is not what it was before the checkpoint was loaded: with the "
            f"checkpoint taken out, logits differ by {left / scale:.1e} of the largest",
            where=where,
            fix="this kind of checkpoint is not supported in place; please report its config",
        )
