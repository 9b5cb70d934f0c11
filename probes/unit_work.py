"""Turn units into files one at a time; a unit that fails alone is noted, the rest goes on."""

import platform
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from critical_phase.atomic import write_json
from critical_phase.probes.damaged import Damage
from critical_phase.probes.manifest import Manifest
from critical_phase.probes.stale import StaleAdapters
from critical_phase.probes.store import Attributes
from critical_phase.probes.units import Unit

Measured = tuple[str, Callable[[], None]]
"""Hash of a unit's values, and what writes its files."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A unit that could not be collected."""

    unit: Unit
    message: str
    path: Path
    """JSON file with the traceback."""


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
class Outcome:
    """What became of every unit of one call."""

    done: tuple[Unit, ...]
    existing: tuple[Unit, ...]
    failed: tuple[Failure, ...]
    remaining: tuple[Unit, ...]
    """Units left over because a stop was asked for."""
    seconds: float


Finish = Callable[[], Failure | None]
"""Writes the files of a unit that was measured."""


class UnitWork(ABC):
    """What one command does with a unit; subclasses measure and write."""

    command: ClassVar[str]
    """Name of the command, in `failed/` and in the manifest."""

    behind = False
    """Whether a unit is written while the next one is measured; set before `open`."""

    def __init__(self, run: Path, provenance: Attributes) -> None:
        """Note where files go and what is said of all of them."""
        self.run = run
        self._provenance = dict(provenance)
        self._manifest = Manifest(run / "manifest.jsonl", self.command)
        self._stale = StaleAdapters()

    @abstractmethod
    def is_done(self, unit: Unit) -> bool:
        """Tell whether every file of a unit is there; note those that are.

        Raises:
            StoreError: A file was made in another way and is not to be overwritten.
        """

    @abstractmethod
    def open(self, units: list[Unit]) -> None:
        """Prepare the model for these units."""

    @abstractmethod
    def measure(self, unit: Unit) -> Measured:
        """Run the model on one unit; nothing is written yet.

        What writes may run while the next unit is measured, so it shares no array with that.
        """

    def run_unit(self, unit: Unit, *, fail_fast: bool) -> Failure | None:
        """Collect one unit; what goes wrong with it alone is noted and returned.

        Raises:
            StoreError: The disk is full: nothing more can be written.
            CheckpointError: Two different adapters gave the very same values.
        """
        return self.start_unit(unit, fail_fast=fail_fast)()

    def start_unit(self, unit: Unit, *, fail_fast: bool) -> Finish:
        """Measure one unit; what is returned writes its files and may run in another thread.

        Raises:
            CheckpointError: Two different adapters gave the very same values.
        """
        try:
            digest, write = self.measure(unit)
        except Exception as error:
            if fail_fast:
                raise
            failure = self._fail(unit, error)
            return lambda: failure
        self._stale.check(unit.name, unit.checkpoint, digest)
        return lambda: self._finish(unit, write, fail_fast=fail_fast)

    def _finish(self, unit: Unit, write: Callable[[], None], *, fail_fast: bool) -> Failure | None:
        try:
            write()
        except Exception as error:
            if fail_fast or isinstance(error.__cause__, OSError):
                raise
            return self._fail(unit, error)
        self.forgive(unit)
        return None

    def forgive(self, unit: Unit) -> None:
        """Take back the note that a unit failed: its files are there."""
        path = self._failed_path(unit)
        if path.exists():
            path.unlink(missing_ok=True)

    def _failed_path(self, unit: Unit) -> Path:
        return self.run / "failed" / f"{self.command}-{unit.name}.json"

    def _fail(self, unit: Unit, error: Exception) -> Failure:
        path = self._failed_path(unit)
        write_json(
            path,
            {
                "schema_version": 1,
                "command": self.command,
                "unit": unit.name,
                "head": unit.head,
                "step": unit.step,
                "error": type(error).__name__,
                "message": str(error),
                "traceback": "".join(traceback.format_exception(error)),
                "host": platform.node(),
                "seed": self._provenance.get("seed"),
            },
        )
        return Failure(unit, str(error), path)


def run_units(
    work: UnitWork,
    units: Sequence[Unit],
    *,
    fail_fast: bool = False,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Deal with every unit that has no finished file yet.

    Args:
        work: What is done with a unit.
        units: In order.
        fail_fast: Raise the first error of a unit instead of noting it and going on.
        progress: Called after every unit.
        stop: Asked before every unit; True ends the call in good order.

    Raises:
        StoreError: Finished files are damaged, all of them named, or were made in another way.
    """
    begin = time.perf_counter()
    log = _Log(progress, len(units))
    damage = Damage()
    for unit in units:
        with damage.noted():
            if work.is_done(unit):
                work.forgive(unit)
                log.add(unit, "existing", 0.0)
    damage.refuse()
    pending = [unit for unit in units if unit not in log.existing]
    work.behind = len(pending) > 1
    if pending and not (stop is not None and stop()):
        work.open(pending)
    with _Writer(log) as writer:
        for unit in pending:
            if stop is not None and stop():
                break
            if work.is_done(unit):  # another process was quicker
                log.add(unit, "existing", 0.0)
                continue
            started = time.perf_counter()
            writer.put(unit, work.start_unit(unit, fail_fast=fail_fast), started)
    return log.outcome(units, time.perf_counter() - begin)


class _Writer:
    """One thread that writes a unit's files while the next unit is measured."""

    def __init__(self, log: "_Log") -> None:
        self._log = log
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="unit-writer")
        self._writing: tuple[Unit, Future[tuple[Failure | None, float]]] | None = None

    def put(self, unit: Unit, finish: Finish, started: float) -> None:
        """Hand over a measured unit once the one before is written.

        Raises:
            StoreError: The one before could not be written and nothing more can be.
        """
        self._settle()
        self._writing = (unit, self._thread.submit(_timed, finish, started))

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for the last unit; an error that is on its way already is the one to raise."""
        try:
            self._settle()
        except Exception as other:
            if error is None:
                raise
            error.add_note(f"and the unit before could not be written: {other}")
        finally:
            self._thread.shutdown()

    def _settle(self) -> None:
        if self._writing is None:
            return
        unit, result = self._writing
        self._writing = None
        failure, seconds = result.result()
        if failure is not None:
            self._log.failures.append(failure)
        status = "done" if failure is None else "failed"
        self._log.add(unit, status, seconds)


def _timed(finish: Finish, started: float) -> tuple[Failure | None, float]:
    failure = finish()
    return failure, time.perf_counter() - started


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

    def outcome(self, units: Sequence[Unit], seconds: float) -> Outcome:
        dealt = {unit.name for unit in (*self.done, *self.existing)}
        dealt |= {failure.unit.name for failure in self.failures}
        left = tuple(unit for unit in units if unit.name not in dealt)
        return Outcome(tuple(self.done), tuple(self.existing), tuple(self.failures), left, seconds)
