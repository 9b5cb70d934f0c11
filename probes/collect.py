"""Collect scores and activations of a checkpoint series: base loaded once, adapters swapped."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from critical_phase.atomic import sweep
from critical_phase.checkpoints import model_sha256
from critical_phase.probes.collectors import COLLECTORS
from critical_phase.probes.job import Job
from critical_phase.probes.plan import Plan
from critical_phase.probes.plan_csv import write_plan
from critical_phase.probes.settings import CollectSettings
from critical_phase.probes.store import Attributes
from critical_phase.probes.unit_work import Failure, Outcome, Progress, run_units
from critical_phase.probes.units import Unit


@dataclass(frozen=True, slots=True)
class CollectReport:
    """What one call did."""

    done: tuple[Unit, ...]
    existing: tuple[Unit, ...]
    failed: tuple[Failure, ...]
    remaining: tuple[Unit, ...]
    """Units left over because a stop was asked for."""
    layout: str
    """`packed` or `naive`; empty when nothing had to be collected."""
    layout_reason: str
    attention_way: str
    """`interface` or `eager`; empty when nothing had to be collected."""
    seconds: float
    cuts: int = 0
    """How often a batch was halved because it did not fit the memory."""
    twice: tuple[Unit, ...] = ()
    """Units that another process finished while they were measured here: its files stay."""


def collect(
    run: Path,
    model: Any,
    plan: Plan,
    units: Sequence[Unit],
    *,
    settings: CollectSettings | None = None,
    provenance: Attributes | None = None,
    overwrite: bool = False,
    fail_fast: bool = False,
    base_sha256: str = "",
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> CollectReport:
    """Write scores and activations of every unit that has no finished file yet.

    Args:
        run: Run folder; `plan.csv`, `scores/`, `activations/`, `failed/` and
            `manifest.jsonl` go into it.
        model: The base model in evaluation mode, loaded once. Adapters are put into it
            in place, so it is not to be used for anything else afterwards.
        plan: The rows, the same for every unit of a run.
        units: What to collect, in order; see `make_units`.
        settings: What to read and how to store it.
        provenance: Attributes for every file: run_id, question_set_sha256, base_model, seed.
        overwrite: Collect again what was collected in another way.
        fail_fast: Raise the first error of a unit instead of noting it and going on.
        base_sha256: Hash of the base's weights, if known already; else it is computed.
        progress: Called after every unit.
        stop: Asked before every unit; True ends the call in good order.

    Raises:
        ConfigError: The settings, the plan and the model do not fit.
        CheckpointError: A gate failed: sites, layout, attention or landing of adapters.
        StoreError: A finished file was made in another way, or the disk is full.
    """
    begin = time.perf_counter()
    settings = settings or CollectSettings()
    settings.check(tuple(COLLECTORS), plan.rows)
    base = base_sha256 or model_sha256(model)
    job = Job(run, model, plan, settings, dict(provenance or {}), base, overwrite)
    sweep(run)
    write_plan(plan, run / "plan.csv", no_text=settings.no_text)
    outcome = run_units(job, units, fail_fast=fail_fast, progress=progress, stop=stop)
    return _report(job, outcome, time.perf_counter() - begin)


def _report(job: Job, outcome: Outcome, seconds: float) -> CollectReport:
    instrument = job.instrument
    return CollectReport(
        done=outcome.done,
        existing=outcome.existing,
        failed=outcome.failed,
        remaining=outcome.remaining,
        layout="" if instrument is None else instrument.choice.layout,
        layout_reason="" if instrument is None else instrument.choice.reason,
        attention_way="" if instrument is None else instrument.scene.attention_way,
        seconds=seconds,
        cuts=job.cuts,
        twice=tuple(job.twice),
    )
