"""Collect here or with workers: what they are told, and what becomes of their answers."""

import contextlib
import platform
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from critical_phase.atomic import sweep, write_json
from critical_phase.checkpoints import model_sha256
from critical_phase.cli.collect_worker import Collection, Provenance
from critical_phase.cli.console import say
from critical_phase.cli.engine_options import EngineChoice
from critical_phase.cli.settings import CollectSettings as CliSettings
from critical_phase.errors import CriticalPhaseError
from critical_phase.probes import (
    BASE,
    COLLECTORS,
    CollectReport,
    CollectSettings,
    Failure,
    Plan,
    Progress,
    Unit,
    collect,
    read_attrs,
    unit_path,
    write_plan,
)
from critical_phase.probes.damaged import Damage
from critical_phase.probes.engines import Result
from critical_phase.probes.job import Job
from critical_phase.probes.stale import StaleAdapters


def source_of(record: Mapping[str, Any], settings: CliSettings) -> tuple[str, str, str]:
    """Say which model a worker is to load: name, type of weights, device."""
    return record["model"], record["recipe"].get("dtype", "float32"), settings.device


def collect_by(
    choice: EngineChoice,
    run: Path,
    model: Any,
    plan: Plan,
    units: Sequence[Unit],
    *,
    source: tuple[str, str, str],
    settings: CollectSettings,
    provenance: Provenance,
    overwrite: bool,
    progress: Callable[[Progress], None],
    stop: Callable[[], bool],
) -> CollectReport:
    """Collect units in this process or by workers, as `probes.collect` does.

    Args:
        choice: Who does it, and which part of the units.
        run: Run folder.
        model: The base model. Workers load their own, so this one is emptied for them.
        plan: The rows.
        units: All units of the run that are asked for.
        source: Name, type of weights and device of the model, for the workers.
        settings: What to read and how to store it.
        provenance: Attributes for every file.
        overwrite: Collect again what was collected in another way.
        progress: Called after every unit.
        stop: Asked again and again; True ends the call in good order.

    Raises:
        CriticalPhaseError: As `probes.collect`, or no worker could be started.
    """
    chosen, base = choice.part_of(units), model_sha256(model)
    if choice.shard is not None:
        _say_shard(run, choice, chosen, len(units), settings)
    if choice.here:
        return collect(
            run,
            model,
            plan,
            chosen,
            settings=settings,
            provenance=provenance,
            overwrite=overwrite,
            fail_fast=choice.fail_fast,
            base_sha256=base,
            progress=progress,
            stop=stop,
        )
    name, dtype, device = source
    outline = SimpleNamespace(dtype=model.dtype)
    model.to("meta")  # gives the memory back before the workers load theirs
    told = Collection(
        run.absolute(),
        name if name == "organism" or not Path(name).is_dir() else str(Path(name).absolute()),
        dtype,
        device,
        plan,
        settings,
        provenance,
        base,
        overwrite,
        choice.fail_fast,
        tuple(_absolute(unit) for unit in chosen),
    )
    return _Gathering(choice, told, told.job(outline), progress, stop).report()


def _absolute(unit: Unit) -> Unit:
    """Name the checkpoint's folder so that a worker that starts elsewhere finds it."""
    item = unit.checkpoint
    if item is None:
        return unit
    return replace(unit, checkpoint=replace(item, path=item.path.absolute()))


def _say_shard(
    run: Path, choice: EngineChoice, chosen: Sequence[Unit], total: int, settings: CollectSettings
) -> None:
    assert choice.shard is not None
    say(f"shard {choice.shard[0]}/{choice.shard[1]}: {len(chosen)} of {total} units")
    base = Unit(BASE, 0)
    there = base in chosen or unit_path(run, "activations", base).exists()
    if settings.collectors and not there:
        say("the base model is not stored yet: this shard works its thresholds out by itself")


class _Gathering:
    """Sends out what is missing and sorts what comes back."""

    def __init__(
        self,
        choice: EngineChoice,
        told: Collection,
        job: Job,
        progress: Callable[[Progress], None],
        stop: Callable[[], bool],
    ) -> None:
        self._choice, self._told, self._job = choice, told, job
        self._progress, self._stop = progress, stop
        self._stale = StaleAdapters()
        self._existing: list[Unit] = []
        self._done: list[Unit] = []
        self._failed: list[Failure] = []
        self._twice: list[Unit] = []
        self._cuts = 0
        self._how: dict[str, str] = {}

    def report(self) -> CollectReport:
        """Collect everything that is missing."""
        begin = time.perf_counter()
        told = self._told
        told.settings.check(tuple(COLLECTORS), told.plan.rows)
        sweep(told.run)
        write_plan(told.plan, told.run / "plan.csv", no_text=told.settings.no_text)
        damage = Damage()
        for unit in told.units:
            with damage.noted():
                if self._job.is_done(unit):
                    self._job.forgive(unit)
                    self._take(unit, self._existing, 0.0)
        damage.refuse()
        pending = [unit for unit in told.units if unit not in self._existing]
        with contextlib.closing(self._results(pending)) as results:
            for result in results:
                self._note(result)
        dealt = {*self._existing, *self._done, *(one.unit for one in self._failed)}
        return CollectReport(
            done=_in_order(self._done, told.units),
            existing=_in_order(self._existing, told.units),
            failed=tuple(sorted(self._failed, key=lambda one: told.units.index(one.unit))),
            remaining=tuple(unit for unit in told.units if unit not in dealt),
            layout=self._how.get("layout", ""),
            layout_reason=self._how.get("layout_reason", ""),
            attention_way=self._how.get("attention_way", ""),
            seconds=time.perf_counter() - begin,
            cuts=self._cuts,
            twice=_in_order(self._twice, told.units),
        )

    def _results(self, pending: Sequence[Unit]) -> Generator[Result, None, None]:
        if not pending:
            return
        engine = self._choice.make(self._told.run, self._told.device, say)
        first = [unit for unit in pending if unit.head == BASE]
        rest = [unit for unit in pending if unit.head != BASE]
        with contextlib.closing(
            engine.map(self._told, rest, first=first, stop=self._stop)
        ) as results:
            yield from results

    def _note(self, result: Result) -> None:
        unit: Unit = result.task
        if result.status == "lost" and self._job.is_done(unit):
            self._take(unit, self._done, result.seconds)  # it died after the last file
            return
        if result.status != "done":
            self._fail(unit, result)
            return
        value = result.value
        if value["existing"]:
            self._take(unit, self._done if result.attempts > 1 else self._existing, result.seconds)
            return
        self._cuts += value["cuts"]
        self._how = {key: value[key] for key in ("layout", "layout_reason", "attention_way")}
        if value["twice"]:
            self._twice.append(unit)
        self._take(unit, self._done, result.seconds)

    def _take(self, unit: Unit, where: list[Unit], seconds: float) -> None:
        """Note a finished unit; each worker saw its own alone, so all are compared here."""
        stored = read_attrs(unit_path(self._told.run, "scores", unit))
        self._stale.check(unit.name, unit.checkpoint, str(stored.get("scores_sha256", "")))
        where.append(unit)
        self._tell(unit, "existing" if where is self._existing else "done", seconds)

    def _fail(self, unit: Unit, result: Result) -> None:
        path = self._told.run / "failed" / f"{self._job.command}-{unit.name}.json"
        message = "" if result.fault is None else result.fault.message
        if result.status == "lost":
            write_json(
                path,
                {
                    "schema_version": 1,
                    "command": self._job.command,
                    "unit": unit.name,
                    "head": unit.head,
                    "step": unit.step,
                    "error": "WorkerLost",
                    "message": message,
                    "traceback": "",
                    "host": platform.node(),
                    "seed": self._told.provenance.get("seed"),
                },
            )
        self._failed.append(Failure(unit, message, path))
        self._tell(unit, "failed", result.seconds)
        if self._told.fail_fast:
            raise CriticalPhaseError(f"{unit.name}: {message}", where=str(path))

    def _tell(self, unit: Unit, status: str, seconds: float) -> None:
        finished = len(self._existing) + len(self._done) + len(self._failed)
        self._progress(Progress(unit, status, finished, len(self._told.units), seconds))


def _in_order(units: Sequence[Unit], order: Sequence[Unit]) -> tuple[Unit, ...]:
    return tuple(sorted(units, key=order.index))
