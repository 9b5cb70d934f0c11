"""Say before anything runs how many units there are and how many bytes they will take."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from critical_phase.errors import StoreError
from critical_phase.probes.plan import Plan
from critical_phase.probes.settings import CollectSettings
from critical_phase.probes.sparsity import NAMES
from critical_phase.probes.store import Kind, read_attrs
from critical_phase.probes.units import Unit, unit_path

_OVERHEAD = {"scores": 35_000, "activations": 75_000}
"""Bytes of axes, attributes and headers; measured, and the same for every model."""
_SUMMARIES = 6


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a collection would do and take."""

    units: tuple[Unit, ...]
    existing: tuple[Unit, ...]
    """Units whose files are there, of this plan and these adapters."""
    rows: int
    bytes_per_unit: int
    """Scores and activations of one checkpoint."""
    bytes_needed: int
    """For all units that are not there yet."""
    bytes_free: int
    """On the disk that holds the run folder."""

    @property
    def fits(self) -> bool:
        """Whether the disk has room for it."""
        return self.bytes_needed <= self.bytes_free


def estimate(
    run: Path,
    config: Any,
    plan: Plan,
    units: Sequence[Unit],
    *,
    settings: CollectSettings | None = None,
    dtype: torch.dtype = torch.float32,
) -> Estimate:
    """Count units and bytes; no file is written and no model is needed.

    Args:
        run: Run folder; need not exist.
        config: Configuration of the model.
        plan: The rows.
        units: What would be collected.
        settings: What would be stored.
        dtype: Type of the model's weights.
    """
    settings = settings or CollectSettings()
    existing = tuple(unit for unit in units if _there(run, unit, plan, settings))
    size = unit_bytes(config, plan, settings, dtype)
    return Estimate(
        units=tuple(units),
        existing=existing,
        rows=plan.rows,
        bytes_per_unit=size,
        bytes_needed=size * (len(units) - len(existing)),
        bytes_free=shutil.disk_usage(_existing_parent(run)).free,
    )


def unit_bytes(config: Any, plan: Plan, settings: CollectSettings, dtype: torch.dtype) -> int:
    """Estimate the size of one unit's files."""
    text = config.get_text_config()
    blocks, width, heads = text.num_hidden_layers, text.hidden_size, text.num_attention_heads
    rows, keys = plan.rows, int(plan.key_length.max())
    size = _OVERHEAD["scores"] + rows * 4 * 8
    size += _OVERHEAD["activations"] if settings.collectors else 0
    if "residual" in settings.collectors:
        item = settings.storage(dtype).itemsize
        size += (blocks + 1) * rows * 2 * (width * item + 4)
    if "attention" in settings.collectors:
        size += blocks * rows * heads * 4 * (keys + _SUMMARIES)
        size += blocks * len(settings.pattern_rows) * heads * keys * keys * 4
    if "sparsity" in settings.collectors:
        size += blocks * rows * len(NAMES) * 4
    return size


def _there(run: Path, unit: Unit, plan: Plan, settings: CollectSettings) -> bool:
    kinds: tuple[Kind, ...] = ("scores", "activations") if settings.collectors else ("scores",)
    for kind in kinds:
        try:
            attrs = read_attrs(unit_path(run, kind, unit))
        except StoreError:
            return False
        if (attrs.get("plan_sha256"), attrs.get("adapter_sha256")) != (
            plan.sha256,
            unit.adapter_sha256,
        ):
            return False
    return True


def _existing_parent(path: Path) -> Path:
    return next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())
