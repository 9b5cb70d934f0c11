"""LoRA in all its variants, on a Llama and on a GPT-2 (fused, transposed, tied) shape."""

import warnings
from pathlib import Path
from typing import Any

from tiny_families import build_model, targets_of
from tiny_plan import save_lora

from critical_phase.checkpoints import Checkpoint

# First a linear map of attention, then the embedding of the family.
_NAMES = {"llama": ("q_proj", "embed_tokens"), "gpt2": ("c_attn", "wte")}


def variants(family: str) -> dict[str, dict[str, Any]]:
    """Settings of every variant, beside rank 3 and alpha 6, by name."""
    linear, embedding = _NAMES[family]
    targets = targets_of(family)
    found: dict[str, dict[str, Any]] = {
        "rslora": {"use_rslora": True},
        "dora": {"use_dora": True},
        "dora and rslora": {"use_dora": True, "use_rslora": True},
        "modules_to_save": {"modules_to_save": ["lm_head"]},
        "lora_bias": {"lora_bias": True},
        "rank_pattern": {"rank_pattern": {linear: 5}, "alpha_pattern": {linear: 3}},
        "layers_to_transform": {"layers_to_transform": [1]},
        "embedding": {"target_modules": [*targets, embedding]},
        "trainable tokens": {"trainable_token_indices": [5, 40]},
    }
    if family == "gpt2":  # a Llama has no biases, and no transposed maps
        found["bias all"] = {"bias": "all"}
        found["bias lora_only"] = {"bias": "lora_only"}
        found["fan_in_fan_out"] = {"fan_in_fan_out": True}
        found["fan_in_fan_out, dora"] = {"fan_in_fan_out": True, "use_dora": True}
    return found


def save_variant(
    folder: Path, family: str, variant: str, steps: tuple[int, ...] = (1,), seed: int = 5
) -> tuple[Checkpoint, ...]:
    """Save adapters of one variant, random in everything that is trained."""
    settings = variants(family)[variant]
    with warnings.catch_warnings():  # PEFT warns of tied weights and sets fan_in_fan_out itself
        warnings.simplefilter("ignore")
        model, targets = build_model(family), targets_of(family)
        return save_lora(folder, model, targets, steps, seed, **settings)
