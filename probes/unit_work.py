"""Turn units into files one at a time; a unit that fails alone is noted, the rest goes on."""

import platform
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from critical_phase.atomic import write_json
from critical_phase.probes.landing import StaleAdapters
from critical_phase.probes.manifest import Manifest
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


class UnitWork(ABC):
    """What one command does with a unit; subclasses measure and write."""

    command: ClassVar[str]
    """Name of the command, in `failed/` and in the manifest."""

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
        """Run the model on one unit; nothing is written yet."""

    def run_unit(self, unit: Unit, *, fail_fast: bool) -> Failure | None:
        """Collect one unit; what goes wrong with it alone is noted and returned.

        Raises:
            StoreError: The disk is full: nothing more can be written.
            CheckpointError: Two different adapters gave the very same values.
        """
        path = self.run / "failed" / f"{self.command}-{unit.name}.json"
        try:
            digest, write = self.measure(unit)
        except Exception as error:
            if fail_fast:
                raise
            return self._fail(unit, path, error)
        self._stale.check(unit.name, unit.checkpoint, digest)
        try:
            write()
        except Exception as error:
            if fail_fast or isinstance(error.__cause__, OSError):
                raise
            return self._fail(unit, path, error)
        path.unlink(missing_ok=True)
        return None

    def _fail(self, unit: Unit, path: Path, error: Exception) -> Failure:
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
    """
    begin = time.perf_counter()
    log = _Log(progress, len(units))
    for unit in units:
        if work.is_done(unit):
            log.add(unit, "existing", 0.0)
    pending = [unit for unit in units if unit not in log.existing]
    if pending and not (stop is not None and stop()):
        work.open(pending)
    for unit in pending:
        if stop is not None and stop():
            break
        started = time.perf_counter()
        failure = work.run_unit(unit, fail_fast=fail_fast)
        if failure is not None:
            log.failures.append(failure)
        log.add(unit, "done" if failure is None else "failed", time.perf_counter() - started)
    return log.outcome(units, time.perf_counter() - begin)


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
