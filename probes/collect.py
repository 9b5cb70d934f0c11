"""Collect scores and activations of a checkpoint series: base loaded once, adapters swapped."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from critical_phase.checkpoints import model_sha256
from critical_phase.probes.collectors import COLLECTORS
from critical_phase.probes.job import Failure, Job
from critical_phase.probes.plan import Plan
from critical_phase.probes.plan_csv import write_plan
from critical_phase.probes.settings import CollectSettings
from critical_phase.probes.store import Attributes
from critical_phase.probes.units import Unit


@dataclass(frozen=True, slots=True)
class Progress:
    """Told after every unit."""

    unit: Unit
    status: str
    """`done`, `existing` or `failed`."""
    finished: int
    """Units dealt with so far, this one included."""
    total: int
    """Units of this call."""
    seconds: float
    """Time this unit took."""


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
    write_plan(plan, run / "plan.csv", no_text=settings.no_text)
    log = _Log(progress, len(units))
    for unit in units:
        if job.is_done(unit):
            log.add(unit, "existing", 0.0)
    pending = [unit for unit in units if unit not in log.existing]
    if pending and not (stop is not None and stop()):
        job.open(pending)
    for unit in pending:
        if stop is not None and stop():
            break
        started = time.perf_counter()
        failure = job.run_unit(unit, fail_fast=fail_fast)
        if failure is not None:
            log.failures.append(failure)
        log.add(unit, "done" if failure is None else "failed", time.perf_counter() - started)
    return _report(job, log, units, time.perf_counter() - begin)


class _Log:
    """Sorts units by what became of them and tells the caller."""

    def __init__(self, progress: Callable[[Progress], None] | None, total: int) -> None:
        self._progress, self._total = progress, total
        self.done: list[Unit] = []
        self.existing: list[Unit] = []
        self.failures: list[Failure] = []

    def add(self, unit: Unit, status: str, seconds: float) -> None:
        if status != "failed":
            (self.done if status == "done" else self.existing).append(unit)
        finished = len(self.done) + len(self.existing) + len(self.failures)
        if self._progress is not None:
            self._progress(Progress(unit, status, finished, self._total, seconds))


def _report(job: Job, log: _Log, units: Sequence[Unit], seconds: float) -> CollectReport:
    dealt = {unit.name for unit in (*log.done, *log.existing)}
    dealt |= {failure.unit.name for failure in log.failures}
    instrument = job.instrument
    return CollectReport(
        done=tuple(log.done),
        existing=tuple(log.existing),
        failed=tuple(log.failures),
        remaining=tuple(unit for unit in units if unit.name not in dealt),
        layout="" if instrument is None else instrument.choice.layout,
        layout_reason="" if instrument is None else instrument.choice.reason,
        attention_way="" if instrument is None else instrument.scene.attention_way,
        seconds=seconds,
    )
