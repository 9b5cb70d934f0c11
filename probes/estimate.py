"""Say before anything runs how many units there are and how many bytes they will take."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from critical_phase.errors import ConfigError, StoreError
from critical_phase.probes.plan import Plan
from critical_phase.probes.settings import CollectSettings
from critical_phase.probes.store import Kind, read_attrs
from critical_phase.probes.unit_sizes import lora_ranks, own_bytes, unit_bytes
from critical_phase.probes.units import Unit, unit_path


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a collection would do and take."""

    units: tuple[Unit, ...]
    existing: tuple[Unit, ...]
    """Units whose files are there, of this plan and these adapters."""
    rows: int
    bytes_per_unit: int
    """Scores and activations of one checkpoint; the base takes less where adapters are read."""
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
    model: Any = None,
) -> Estimate:
    """Count units and bytes; no file is written, and only own collectors need the model.

    Args:
        run: Run folder; need not exist.
        config: Configuration of the model.
        plan: The rows.
        units: What would be collected.
        settings: What would be stored.
        dtype: Type of the model's weights, where no model is given.
        model: The base model; needed where settings name collectors of the user's own.

    Raises:
        ConfigError: Own collectors are named and no model is given, or they break the contract.
        CheckpointError: LoRA modules are to be read and an adapter cannot be.
    """
    settings = settings or CollectSettings()
    existing = tuple(unit for unit in units if _there(run, unit, plan, settings))
    kind = dtype if model is None else model.dtype
    ranks = lora_ranks(units) if "lora_hidden" in settings.collectors else ()
    own = _own(model, plan, settings)
    base = unit_bytes(config, plan, settings, kind) + own
    size = unit_bytes(config, plan, settings, kind, ranks) + own
    missing = [unit for unit in units if unit not in existing]
    return Estimate(
        units=tuple(units),
        existing=existing,
        rows=plan.rows,
        bytes_per_unit=size,
        bytes_needed=sum(base if unit.checkpoint is None else size for unit in missing),
        bytes_free=shutil.disk_usage(_existing_parent(run)).free,
    )


def _own(model: Any, plan: Plan, settings: CollectSettings) -> int:
    named = {one.name for one in settings.own_collectors} & set(settings.collectors)
    if not named:
        return 0
    if model is None:
        raise ConfigError(
            f"how much {sorted(named)[0]} stores is known from the model alone",
            fix="give the model to estimate",
        )
    return own_bytes(model, plan, settings)


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
