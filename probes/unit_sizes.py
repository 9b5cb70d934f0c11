"""How many bytes the files of one unit take, collector by collector."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from critical_phase.errors import CheckpointError
from critical_phase.probes.attention_summary import summaries_of
from critical_phase.probes.collectors import build
from critical_phase.probes.instrument import make_scene
from critical_phase.probes.lora_hidden import refuse_full_weights
from critical_phase.probes.plan import POSITIONS, Plan
from critical_phase.probes.settings import CollectSettings
from critical_phase.probes.sparsity import NAMES
from critical_phase.probes.units import Unit

_OVERHEAD = {"scores": 35_000, "activations": 75_000}
"""Bytes of axes, attributes and headers; measured, and the same for every model."""
_PER_DATASET = 3_000
"""Bytes of the headers of one more dataset."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What sizes depend on."""

    blocks: int
    width: int
    heads: int
    plan: Plan
    settings: CollectSettings
    item: int
    """Bytes of one stored residual."""
    ranks: tuple[int, ...]
    """Rank of every LoRA module."""

    @property
    def stream(self) -> int:
        """Vectors of the residual stream at all layers and positions."""
        return (self.blocks + 1) * self.plan.rows * len(self.settings.read_positions)


def _residual(shape: Shape) -> int:
    sites, size = shape.settings.read_sites, 0
    if "post" in sites:
        size += shape.stream * (shape.width * shape.item + 4)
    if "mid" in sites:
        size += shape.stream // (shape.blocks + 1) * shape.blocks * shape.width * shape.item
    return size


def _attention(shape: Shape) -> int:
    plan, keys = shape.plan, int(shape.plan.key_length.max())
    rows = shape.blocks * plan.rows * shape.heads * 4 * (keys + len(summaries_of(plan)))
    whole = shape.blocks * len(shape.settings.pattern_rows) * shape.heads * keys * keys * 4
    return rows + whole


def _sparsity(shape: Shape) -> int:
    return shape.blocks * shape.plan.rows * len(NAMES) * 4


def _residual_sparsity(shape: Shape) -> int:
    return shape.stream * len(NAMES) * 4


def _lora_hidden(shape: Shape) -> int:
    rows = shape.plan.rows * len(shape.settings.read_positions)
    each = rows * max(shape.ranks, default=0) * 4 + _PER_DATASET
    return len(shape.ranks) * each


def _margin_gradient(shape: Shape) -> int:
    layers, rows = shape.blocks + 1, shape.plan.rows
    positions = len(set(shape.settings.read_positions) - {POSITIONS[1]})
    return layers * rows * positions * shape.width * 4 + rows * 12 + 3 * _PER_DATASET


def _head_output(shape: Shape) -> int:
    positions = len(shape.settings.read_positions)
    return shape.blocks * shape.plan.rows * positions * shape.heads * 4 * 2 + 2 * _PER_DATASET


def _head_importance(shape: Shape) -> int:
    return shape.blocks * shape.plan.rows * shape.heads * 4 + _PER_DATASET


SIZES: dict[str, Callable[[Shape], int]] = {
    "residual": _residual,
    "attention": _attention,
    "sparsity": _sparsity,
    "residual_sparsity": _residual_sparsity,
    "lora_hidden": _lora_hidden,
    "margin_gradient": _margin_gradient,
    "head_output": _head_output,
    "head_importance": _head_importance,
}


def unit_bytes(
    config: Any,
    plan: Plan,
    settings: CollectSettings,
    dtype: torch.dtype,
    ranks: tuple[int, ...] = (),
) -> int:
    """Estimate the size of one unit's files, without the user's own collectors.

    Args:
        config: Configuration of the model.
        plan: The rows.
        settings: What would be stored.
        dtype: Type of the model's weights.
        ranks: Rank of every LoRA module; none for the base.
    """
    text = config.get_text_config()
    shape = Shape(
        text.num_hidden_layers,
        text.hidden_size,
        text.num_attention_heads,
        plan,
        settings,
        settings.storage(dtype).itemsize,
        ranks,
    )
    size = _OVERHEAD["scores"] + plan.rows * 4 * 8
    size += _OVERHEAD["activations"] if settings.collectors else 0
    return size + sum(SIZES[name](shape) for name in settings.collectors if name in SIZES)


def own_bytes(model: Any, plan: Plan, settings: CollectSettings) -> int:
    """Count what the user's own collectors would store, from the axes that they declare.

    Raises:
        ConfigError: A collector breaks the contract.
    """
    names = tuple(one.name for one in settings.own_collectors if one.name in settings.collectors)
    if not names:
        return 0
    size = 0
    for collector in build(make_scene(model, plan, settings), replace(settings, collectors=names)):
        lengths = {"row": plan.rows} | {k: len(v) for k, v in collector.coordinates.items()}
        for dataset in collector.datasets:
            count = 1
            for dim in dataset.dims:
                count *= lengths[dim]
            size += count * dataset.dtype.itemsize + _PER_DATASET
    return size


def lora_ranks(units: Sequence[Unit]) -> tuple[int, ...]:
    """Read the rank of every LoRA module from the header of the first adapter's file.

    Raises:
        ConfigError: The checkpoints are full weights.
        CheckpointError: The file cannot be read.
    """
    refuse_full_weights({u.checkpoint.kind for u in units if u.checkpoint is not None})
    folder = next((u.checkpoint.path for u in units if u.checkpoint is not None), None)
    if folder is None:
        return ()
    path = Path(folder) / "adapter_model.safetensors"
    try:
        with safe_open(path, "pt") as file:
            names = [n for n in file.keys() if "lora_A." in n or "lora_embedding_A" in n]  # noqa: SIM118
            return tuple(int(file.get_slice(name).get_shape()[0]) for name in names)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read the adapter: {error}", where=str(path)) from error
