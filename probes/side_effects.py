"""What a checkpoint changes beside the task, against the base with the adapter out.

Divergence from the base on neutral texts and on the questions, likelihood of neutral
texts, and the scatter of the training gradient.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from critical_phase.checkpoints import model_sha256
from critical_phase.errors import ConfigError
from critical_phase.probes.effects_job import EffectsJob, EffectsPlan, EffectsSettings
from critical_phase.probes.store import Attributes
from critical_phase.probes.unit_work import Failure, Progress, run_units
from critical_phase.probes.units import Unit


@dataclass(frozen=True, slots=True)
class EffectsReport:
    """What one call did."""

    done: tuple[Unit, ...]
    existing: tuple[Unit, ...]
    failed: tuple[Failure, ...]
    remaining: tuple[Unit, ...]
    """Units left over because a stop was asked for."""
    base_logprobs: str
    """`kept` in memory, or `recomputed` for every unit."""
    seconds: float


def side_effects(
    run: Path,
    model: Any,
    plan: EffectsPlan,
    units: Sequence[Unit],
    *,
    settings: EffectsSettings | None = None,
    provenance: Attributes | None = None,
    overwrite: bool = False,
    fail_fast: bool = False,
    base_sha256: str = "",
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> EffectsReport:
    """Write the side effects of every unit that has no finished file yet.

    Args:
        run: Run folder; `effects/`, `failed/` and `manifest.jsonl` go into it.
        model: The base model in evaluation mode, loaded once. Adapters are put into it
            in place, so it is not to be used for anything else afterwards.
        plan: Questions, neutral texts and training examples, the same for all units.
        units: What to measure, in order; see `make_units`.
        settings: How passes are cut.
        provenance: Attributes for every file: run_id, base_model, seed.
        overwrite: Measure again what was measured in another way.
        fail_fast: Raise the first error of a unit instead of noting it and going on.
        base_sha256: Hash of the base's weights, if known already; else it is computed.
        progress: Called after every unit.
        stop: Asked before every unit; True ends the call in good order.

    Raises:
        ConfigError: The settings, the plan and the model do not fit.
        CheckpointError: A gate failed: sites or landing of adapters.
        StoreError: A finished file was made in another way, or the disk is full.
    """
    begin = time.perf_counter()
    settings = settings or EffectsSettings()
    if settings.batch_tokens < 1:
        raise ConfigError(f"batch_tokens is {settings.batch_tokens}", fix="give a positive number")
    base = base_sha256 or model_sha256(model)
    job = EffectsJob(run, model, plan, settings, provenance or {}, base, overwrite=overwrite)
    outcome = run_units(job, units, fail_fast=fail_fast, progress=progress, stop=stop)
    return EffectsReport(
        done=outcome.done,
        existing=outcome.existing,
        failed=outcome.failed,
        remaining=outcome.remaining,
        base_logprobs=job.memory.way,
        seconds=time.perf_counter() - begin,
    )
