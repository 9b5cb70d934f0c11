"""Tell whether a checkpoint can belong to a base model, before any weights are loaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from critical_phase.checkpoints.full_slot import live_names
from critical_phase.checkpoints.full_weights import FullWeights
from critical_phase.checkpoints.hub_reach import hub_reachable
from critical_phase.checkpoints.models import ORGANISM, model_location
from critical_phase.checkpoints.near_models import did_you_mean
from critical_phase.checkpoints.series import Checkpoint, load_adapter
from critical_phase.errors import CheckpointError

_PREFIX = "base_model.model."


def check_fit(model_name: str, checkpoint: Checkpoint) -> None:
    """Compare the shapes of a checkpoint with those of a base model that is not loaded.

    Raises:
        CheckpointError: A module is missing or of another size, or there is no such base.
    """
    shapes = _base_shapes(model_name)
    if checkpoint.kind == "full":
        weights = FullWeights(checkpoint.path)
        for name in weights:
            if name in shapes and shapes[name] != weights.shape(name):
                _refuse(checkpoint, model_name, name, weights.shape(name), shapes[name])
        return
    for name, (rows, columns) in _updates(checkpoint).items():
        base = shapes.get(f"{name}.weight")
        if base is None or sorted(base) != sorted((rows, columns)):
            _refuse(checkpoint, model_name, name, (rows, columns), base)


def _updates(checkpoint: Checkpoint) -> dict[str, tuple[int, int]]:
    """Return the size of the weight that each pair of plain LoRA factors changes."""
    tensors = load_adapter(checkpoint.path)
    ends = (".lora_A.weight", ".lora_B.weight")
    names = {n.removesuffix(ends[0]) for n in tensors if n.endswith(ends[0])}
    return {
        name.removeprefix(_PREFIX): (
            tensors[name + ends[1]].shape[0],
            tensors[name + ends[0]].shape[1],
        )
        for name in sorted(names)
        if name + ends[1] in tensors
    }


def _base_shapes(model_name: str) -> Mapping[str, tuple[int, ...]]:
    location = model_location(model_name)
    local = not Path(location).is_dir() and not hub_reachable()  # as `load_model` does
    try:
        config = AutoConfig.from_pretrained(location, local_files_only=local)
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"cannot read the base model {model_name!r}: {(str(error).splitlines() or ['?'])[0]}",
            fix=did_you_mean(model_name, (ORGANISM,))
            + "give --model a folder, a name on the hub, or name@revision",
        ) from error
    return {name: tuple(tensor.shape) for name, tensor in live_names(model).items()}


def _refuse(
    checkpoint: Checkpoint,
    model_name: str,
    name: str,
    found: tuple[int, ...],
    base: tuple[int, ...] | None,
) -> None:
    there = "has no such module" if base is None else f"has size {base}"
    raise CheckpointError(
        f"the checkpoints belong to another base model: {name} is of size {found}, "
        f"but {model_name!r} {there}",
        where=str(checkpoint.path),
        fix="give --model the model that the series was trained from",
    )
