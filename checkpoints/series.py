"""The saved checkpoints of one head, in step order, and what is odd about them."""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file

from critical_phase.checkpoints.folders import CONFIG as CONFIG
from critical_phase.checkpoints.folders import WEIGHTS as WEIGHTS
from critical_phase.checkpoints.folders import SavedStep, list_folder
from critical_phase.checkpoints.full_weights import FullWeights
from critical_phase.checkpoints.models import tensors_sha256
from critical_phase.errors import CheckpointError

IDENTITY = "critical_phase.json"
LORA_A = ".lora_A.weight"
"""How the name of the first factor of a module ends."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One saved set of weights: an adapter, a whole model, or the base standing for step 0."""

    step: int
    """Optimizer steps done when it was saved; 0 is untrained."""
    path: Path
    """Folder of the weights; for `base`, of the adapter that would be empty at step 0."""
    sha256: str
    """Hash of the tensors, not of the file: equal weights have equal hashes. Empty for `base`."""
    kind: Literal["adapter", "full", "base"] = "adapter"


@dataclass(frozen=True, slots=True)
class Series:
    """The checkpoints of one head in step order."""

    checkpoints: tuple[Checkpoint, ...]
    warnings: tuple[str, ...]
    """Skipped folders and duplicated adapters, one sentence each."""

    @property
    def steps(self) -> tuple[int, ...]:
        """Saved steps, ascending."""
        return tuple(item.step for item in self.checkpoints)

    def at(self, step: int) -> Checkpoint:
        """Return the checkpoint of one step."""
        for item in self.checkpoints:
            if item.step == step:
                return item
        raise CheckpointError(f"no checkpoint at step {step}; saved: {self.steps}")


def list_series(folder: Path, *, adapter_name: str | None = None) -> Series:
    """List and hash the complete checkpoints below a folder in numeric step order.

    Raises:
        CheckpointError: The folder is missing or holds no complete checkpoint.
        ConfigError: Its checkpoints hold several named adapters and none is chosen.
    """
    listing = list_folder(folder, adapter_name=adapter_name)
    checkpoints = tuple(hash_checkpoint(saved) for saved in listing.saved)
    return Series(checkpoints, (*listing.skipped, *duplicates(checkpoints)))


def hash_checkpoint(saved: SavedStep) -> Checkpoint:
    """Read the tensors of one saved step and note their hash.

    Raises:
        CheckpointError: A file is damaged or was removed since it was listed.
    """
    weights: Mapping[str, torch.Tensor] = (
        load_adapter(saved.path) if saved.kind == "adapter" else FullWeights(saved.path)
    )
    return Checkpoint(saved.step, saved.path, tensors_sha256(weights), saved.kind)


def duplicates(checkpoints: Iterable[Checkpoint]) -> list[str]:
    """Name steps that hold the very same weights: a series that never moved."""
    by_hash: defaultdict[str, list[Checkpoint]] = defaultdict(list)
    for item in checkpoints:
        if item.kind != "base":
            by_hash[item.sha256].append(item)
    return [
        f"steps {', '.join(str(item.step) for item in equal)} hold the same "
        + ("adapter" if equal[0].kind == "adapter" else "weights")
        for equal in by_hash.values()
        if len(equal) > 1
    ]


def load_adapter(folder: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of one PEFT folder.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    path = folder / WEIGHTS
    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise unreadable(path, error) from error
    return tensors


def unreadable(path: Path, error: Exception) -> CheckpointError:
    """Say that the file of an adapter is missing or damaged."""
    return CheckpointError(
        f"cannot read the adapter: {error}",
        where=str(path),
        fix="delete the folder and repeat probe train; it writes what is missing",
    )


def adapter_config(folder: Path) -> dict[str, Any]:
    """Read the PEFT configuration of one checkpoint as plain values."""
    return _read_object(folder / CONFIG)


def adapter_identity(folder: Path) -> dict[str, Any] | None:
    """Read what `probe train` noted beside an adapter; None for adapters made elsewhere."""
    path = folder / IDENTITY
    return _read_object(path) if path.exists() else None


def has_factors(checkpoint: Checkpoint) -> bool:
    """Tell whether the update is a plain product of two factors."""
    if checkpoint.kind == "full" or not (checkpoint.path / CONFIG).is_file():
        return False
    config = adapter_config(checkpoint.path)
    lora = config.get("peft_type", "LORA") == "LORA"
    return lora and not (config.get("use_dora") or config.get("lora_bias"))


def low_rank_factors(
    checkpoint: Checkpoint,
) -> dict[str, tuple[Float[np.ndarray, "r d_in"], Float[np.ndarray, "d_out r"], float]]:
    """Return A, B and the scaling of every adapted module; the update is scaling * B @ A.

    Of the base standing for step 0, B is zero.

    Raises:
        CheckpointError: The checkpoint is not a plain LoRA.
    """
    if not has_factors(checkpoint):
        raise CheckpointError(
            "only plain LoRA has factors to compare: this is DoRA, lora_bias or full weights",
            where=str(checkpoint.path),
        )
    config = adapter_config(checkpoint.path)
    tensors = load_adapter(checkpoint.path)
    factors = {}
    for name in sorted(tensors):
        if not name.endswith(LORA_A):
            continue
        module = name.removesuffix(LORA_A)
        a, b = tensors[name], tensors[f"{module}.lora_B.weight"]
        factors[module_in_base(name)] = factors_of(checkpoint, config, module, a, b)
    return factors


def module_in_base(name: str) -> str:
    """Return the base's own name of a module, from that of its tensor or of its module in PEFT."""
    return name.removesuffix(LORA_A).removeprefix("base_model.model.")


def factors_of(
    checkpoint: Checkpoint,
    config: Mapping[str, Any],
    module: str,
    a: torch.Tensor,
    b: torch.Tensor,
) -> tuple[Float[np.ndarray, "r d_in"], Float[np.ndarray, "d_out r"], float]:
    """Turn the stored tensors of one module into A, B and the scaling."""
    read, write = a.float().numpy(), b.float().numpy()
    write = np.zeros_like(write) if checkpoint.kind == "base" else write
    # PEFT matches its patterns, which may start with ^, against the base's own names.
    return read, write, _scaling(config, module_in_base(module))


def _scaling(config: Mapping[str, Any], module: str) -> float:
    """Return alpha over rank, or over its root (rsLoRA), with per-module patterns."""
    rank = _pattern(config.get("rank_pattern"), module, float(config["r"]))
    alpha = _pattern(config.get("alpha_pattern"), module, float(config["lora_alpha"]))
    return float(alpha / (rank**0.5 if config.get("use_rslora") else rank))


def _pattern(patterns: Mapping[str, int | float] | None, module: str, default: float) -> float:
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return float(value)
    return default


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"cannot read {path.name}: {error}", where=str(path)) from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path.name} holds no JSON object", where=str(path))
    return value


def file_sha256(path: Path) -> str:
    """Hash the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
