"""A merged adapter as a PEFT folder that anyone can load."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from critical_phase.atomic import new_folder
from critical_phase.checkpoints import Checkpoint, adapter_config, adapter_identity
from critical_phase.checkpoints.folders import CONFIG, WEIGHTS
from critical_phase.checkpoints.series import IDENTITY
from critical_phase.errors import ConfigError
from critical_phase.probes.generation.merged import Merged

_PREFIX = "base_model.model."
_OF_OTHER_LAYERS = ("layers_to_transform", "layers_pattern", "exclude_modules", "auto_mapping")


def save_merged(
    folder: Path, merged: Merged, like: Checkpoint, note: Mapping[str, Any], *, overwrite: bool
) -> None:
    """Write adapter_config.json and adapter_model.safetensors for PEFT's own loading.

    Args:
        folder: Is made; nothing may be there but an earlier one, if that is overwritten.
        merged: The update.
        like: One of the heads: base model, task and layout of weights are taken from it.
        note: What is written beside it about its making.
        overwrite: Replace a folder that holds an adapter.

    Raises:
        ConfigError: Something is there already.
        StoreError: The disk is full or the folder cannot be written.
    """
    if folder.exists() and not (overwrite and (folder / CONFIG).is_file()):
        raise ConfigError(
            "something is there already",
            where=str(folder),
            fix="name a new folder; --overwrite replaces an adapter, and nothing else",
        )
    tensors = {}
    for module, (b, a, scaling) in merged.updates.items():
        for side, values in (("A", a), ("B", scaling * b)):
            name = f"{_PREFIX}{module}.lora_{side}.weight"
            tensors[name] = torch.from_numpy(values).float().contiguous()
    identity = adapter_identity(like.path) or {}
    about = ("base_model", "base_sha256", "prompt")
    kept: dict[str, Any] = {key: identity[key] for key in about if key in identity}
    with new_folder(folder) as path:
        (path / WEIGHTS).write_bytes(save(tensors, metadata={"format": "pt"}))
        for name, value in ((CONFIG, _config(merged, like)), (IDENTITY, {**kept, **note})):
            text = json.dumps(value, indent=1, sort_keys=True)
            (path / name).write_text(text, encoding="utf-8")


def _config(merged: Merged, like: Checkpoint) -> dict[str, Any]:
    """Return a configuration in which alpha over rank is 1 in every module."""
    ranks = {re.escape(module): a.shape[0] for module, (_, a, _) in merged.updates.items()}
    odd = {module: rank for module, rank in ranks.items() if rank != merged.rank}
    return {
        **{k: v for k, v in adapter_config(like.path).items() if k not in _OF_OTHER_LAYERS},
        "r": merged.rank,
        "lora_alpha": merged.rank,
        "rank_pattern": odd,
        "alpha_pattern": odd,
        "use_rslora": False,
        "lora_dropout": 0.0,
        "init_lora_weights": True,
        "inference_mode": True,
        "target_modules": sorted(merged.updates),
    }
