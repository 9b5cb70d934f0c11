"""The saved checkpoints of one head, in step order, and what is odd about them."""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from critical_phase.checkpoints.models import tensors_sha256
from critical_phase.errors import CheckpointError

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
IDENTITY = "critical_phase.json"
_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One saved adapter."""

    step: int
    """Optimizer steps done when it was saved; 0 is untrained."""
    path: Path
    """PEFT folder."""
    sha256: str
    """Hash of the tensors, not of the file: equal adapters have equal hashes."""


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


def list_series(folder: Path) -> Series:
    """List the complete PEFT checkpoints below a folder in numeric step order.

    Raises:
        CheckpointError: The folder is missing or holds no complete checkpoint.
    """
    if not folder.is_dir():
        raise CheckpointError(
            "no such folder of checkpoints", where=str(folder), fix="run probe train first"
        )
    found: dict[int, Checkpoint] = {}
    warnings: list[str] = []
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if not match:
            continue
        home = _adapter_home(path)
        if home is None:
            warnings.append(f"skipped {path.name}: no complete adapter in it")
            continue
        step = int(match[1])
        if step in found:
            warnings.append(f"skipped {path.name}: step {step} is already given")
            continue
        found[step] = Checkpoint(step, home, tensors_sha256(load_adapter(home)))
    if not found:
        raise CheckpointError(
            "the folder holds no complete checkpoint-<step>",
            where=str(folder),
            fix="each needs adapter_config.json and adapter_model.safetensors",
        )
    ordered = tuple(found[step] for step in sorted(found))
    return Series(ordered, tuple(warnings) + tuple(_duplicates(ordered)))


def load_adapter(folder: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of one PEFT folder.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    path = folder / WEIGHTS
    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot read the adapter: {error}",
            where=str(path),
            fix="delete the folder and repeat probe train; it writes what is missing",
        ) from error
    return tensors


def adapter_config(folder: Path) -> dict[str, Any]:
    """Read the PEFT configuration of one checkpoint as plain values."""
    return _read_object(folder / CONFIG)


def adapter_identity(folder: Path) -> dict[str, Any] | None:
    """Read what `probe train` noted beside an adapter; None for adapters made elsewhere."""
    path = folder / IDENTITY
    return _read_object(path) if path.exists() else None


def low_rank_factors(
    checkpoint: Checkpoint,
) -> dict[str, tuple[Float[np.ndarray, "r d_in"], Float[np.ndarray, "d_out r"], float]]:
    """Return A, B and the scaling of every adapted module; the update is scaling * B @ A.

    Raises:
        CheckpointError: The adapter is not a plain LoRA.
    """
    config = adapter_config(checkpoint.path)
    if config.get("use_dora") or config.get("lora_bias"):
        raise CheckpointError("DoRA and lora_bias have no factors to compare", where=CONFIG)
    tensors = load_adapter(checkpoint.path)
    factors = {}
    for name in sorted(tensors):
        if not name.endswith(".lora_A.weight"):
            continue
        module = name.removesuffix(".lora_A.weight")
        a = tensors[name].float().numpy()
        b = tensors[f"{module}.lora_B.weight"].float().numpy()
        scaling = _scaling(config, module)
        factors[module.removeprefix("base_model.model.")] = (a, b, scaling)
    return factors


def _scaling(config: Mapping[str, Any], module: str) -> float:
    """Return alpha over rank, or over its root (rsLoRA), with per-module patterns."""
    rank = _pattern(config.get("rank_pattern"), module, float(config["r"]))
    alpha = _pattern(config.get("alpha_pattern"), module, float(config["lora_alpha"]))
    return float(alpha / (rank**0.5 if config.get("use_rslora") else rank))


def _pattern(patterns: Mapping[str, float] | None, module: str, default: float) -> float:
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return float(value)
    return default


def _adapter_home(path: Path) -> Path | None:
    """Find the adapter of a checkpoint: in the folder, or one level down (named adapters)."""
    homes = [path, *(p for p in sorted(path.iterdir()) if p.is_dir())] if path.is_dir() else []
    return next((home for home in homes if _complete(home)), None)


def _complete(folder: Path) -> bool:
    if not (folder / CONFIG).is_file():
        return False
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            return bool(list(file.keys()))
    except (OSError, SafetensorError):
        return False


def _duplicates(checkpoints: tuple[Checkpoint, ...]) -> list[str]:
    """Name steps that hold one and the same adapter: a series that never moved."""
    by_hash: defaultdict[str, list[int]] = defaultdict(list)
    for item in checkpoints:
        by_hash[item.sha256].append(item.step)
    return [
        f"steps {', '.join(map(str, steps))} hold the same adapter"
        for steps in by_hash.values()
        if len(steps) > 1
    ]


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
