"""A control series: random adapters with the norms of trained ones.

Per module A and B are drawn once from a seed, so the direction of the update is the same
at every step; B alone is rescaled, so that ||scaling * B @ A||_F is that of the trained
adapter at that step. What such a series shows owes nothing to what was learnt: only to
how far the weights moved, module by module.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import save

from critical_phase.atomic import new_folder, sweep, write_json
from critical_phase.checkpoints.folders import CONFIG, WEIGHTS
from critical_phase.checkpoints.series import (
    IDENTITY,
    Checkpoint,
    Series,
    adapter_config,
    adapter_identity,
    load_adapter,
    low_rank_factors,
)
from critical_phase.checkpoints.training_state import DONE, FREE_KEYS
from critical_phase.differences import apart
from critical_phase.errors import CheckpointError

RANDOM_ADAPTER = "random_adapter"
_PREFIX = "base_model.model."
_FACTORS = (".lora_A.weight", ".lora_B.weight")
_VARIANTS = (
    "use_dora",
    "lora_bias",
    "use_qalora",
    "use_bdlora",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "modules_to_save",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "velora_config",
)
"""Settings that put more into the model than scaling * B @ A."""

Factors = tuple[Float[np.ndarray, "r d_in"], Float[np.ndarray, "d_out r"]]


def write_random_series(
    source: Series,
    folder: Path,
    *,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write a random twin of every checkpoint of a series; what is there is kept.

    Args:
        source: Trained adapters: plain LoRA or rsLoRA.
        folder: Gets `checkpoint-<step>` folders as PEFT writes them.
        seed: Draws the direction; A and B of a module depend on it and the module's name.
        progress: Called with the number of checkpoints done.

    Returns:
        How many checkpoints were written now.

    Raises:
        CheckpointError: An adapter of another type, or the folder holds another series.
        StoreError: The disk is full; what is saved stays.
    """
    refuse_variants(source)
    sweep(folder)
    written = 0
    for done, checkpoint in enumerate(source.checkpoints, start=1):
        target = folder / f"checkpoint-{checkpoint.step}"
        note = control_note(checkpoint, seed)
        if not _exists(target, note):
            _write(target, checkpoint, note)
            written += 1
        if progress is not None:
            progress(done)
    # Closed like a trained head: a training into this folder is refused, not mixed in.
    write_json(folder / DONE, _of_the_series(control_note(source.checkpoints[-1], seed)))
    return written


def refuse_variants(source: Series) -> None:
    """Refuse a series that is more than scaling * B @ A.

    Raises:
        CheckpointError: Names the checkpoint and what it has besides.
    """
    if not source.checkpoints:
        raise CheckpointError("the series has no checkpoint to control")
    for checkpoint in source.checkpoints:
        _refuse_variant(checkpoint)


def random_twin(checkpoint: Checkpoint, *, seed: int) -> dict[str, torch.Tensor]:
    """Return random tensors under the names of a checkpoint, of its norm in every module.

    Raises:
        CheckpointError: The adapter is no plain LoRA, or its update is not finite.
    """
    tensors: dict[str, torch.Tensor] = {}
    for module, (a, b, scaling) in low_rank_factors(checkpoint).items():
        norm = update_norm(a, b, scaling)
        if not math.isfinite(norm):
            raise CheckpointError(
                f"the update of {module} has the norm {norm}", where=str(checkpoint.path)
            )
        random_a, random_b = random_direction(module, a.shape, b.shape, seed)
        factor = norm / update_norm(random_a, random_b, scaling) if norm else 0.0
        for suffix, value in zip(_FACTORS, (random_a, factor * random_b + 0.0), strict=True):
            tensors[_PREFIX + module + suffix] = torch.from_numpy(value.astype(np.float32))
    return tensors


def random_direction(
    module: str, shape_a: tuple[int, ...], shape_b: tuple[int, ...], seed: int
) -> Factors:
    """Draw A and B of one module, the same for a seed and a name wherever they are drawn."""
    name = int.from_bytes(hashlib.sha256(module.encode()).digest()[:8], "big")
    rng = np.random.default_rng([seed, name])
    a = rng.standard_normal(shape_a) / math.sqrt(shape_a[1])
    # Rounded before it is measured, so that the norm of what is stored is met.
    return a.astype(np.float32).astype(np.float64), rng.standard_normal(shape_b)


def update_norm(
    a: Float[np.ndarray, "r d_in"], b: Float[np.ndarray, "d_out r"], scaling: float
) -> float:
    """Return ||scaling * B @ A||_F in float64, from the factors alone."""
    wide, tall = a.astype(np.float64), b.astype(np.float64)
    squared = float(np.sum((tall.T @ tall) * (wide @ wide.T)))
    return abs(scaling) * math.sqrt(max(squared, 0.0)) if math.isfinite(squared) else squared


def control_note(checkpoint: Checkpoint, seed: int) -> dict[str, Any]:
    """Return what is noted beside a random twin: its source's note, and what it controls."""
    return {
        **(adapter_identity(checkpoint.path) or {}),
        "step": checkpoint.step,
        "control": RANDOM_ADAPTER,
        "control_seed": seed,
        "source_sha256": checkpoint.sha256,
    }


def _of_the_series(note: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in note.items() if k not in (*FREE_KEYS, "source_sha256")}


def _write(target: Path, checkpoint: Checkpoint, note: Mapping[str, Any]) -> None:
    tensors = random_twin(checkpoint, seed=note["control_seed"])
    config = adapter_config(checkpoint.path)
    with new_folder(target) as folder:
        # Not save_file: a full disk there is no OSError.
        (folder / WEIGHTS).write_bytes(save(tensors, metadata={"format": "pt"}))
        for name, value in ((CONFIG, config), (IDENTITY, note)):
            text = json.dumps(value, indent=1, sort_keys=True)
            (folder / name).write_text(text, encoding="utf-8")


def _exists(target: Path, note: Mapping[str, Any]) -> bool:
    """Say whether this very twin is there already."""
    if not target.exists():
        return False
    found = adapter_identity(target) or {}
    wanted = json.loads(json.dumps(note))
    if odd := sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key)):
        there, asked = apart(found.get(odd[0]), wanted.get(odd[0]))
        raise CheckpointError(
            f"another checkpoint is in the way: its {odd[0]} is {there}, asked for {asked}",
            where=str(target),
            fix="use another --out",
        )
    return True


def _refuse_variant(checkpoint: Checkpoint) -> None:
    where, fix = str(checkpoint.path), "controls are made of plain LoRA and rsLoRA only"
    if checkpoint.kind == "full":
        raise CheckpointError("full weights have no random adapter", where=where, fix=fix)
    config = adapter_config(checkpoint.path)
    odd = [name for name in _VARIANTS if config.get(name)]
    odd += ["bias"] if config.get("bias", "none") != "none" else []
    odd += ["peft_type"] if config.get("peft_type", "LORA") != "LORA" else []
    if odd:
        raise CheckpointError(
            f"no random twin of this adapter: its {odd[0]} is {config[odd[0]]!r}",
            where=where,
            fix=fix,
        )
    tensors = load_adapter(checkpoint.path)
    others = sorted(n for n, t in tensors.items() if not n.endswith(_FACTORS) or t.ndim != 2)
    if others:
        raise CheckpointError(
            f"no random twin of this adapter: it holds {others[0]!r}", where=where, fix=fix
        )
