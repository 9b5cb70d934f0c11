"""Make one cell of a sweep: an ordinary run, from training to its numbers."""

import platform
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from critical_phase import __version__
from critical_phase.atomic import write_json
from critical_phase.cli.analyze import analyze_run
from critical_phase.cli.collect import collect_run
from critical_phase.cli.console import say
from critical_phase.cli.run_folder import RunFolder, update_record
from critical_phase.cli.settings import AnalyzeSettings, CollectSettings
from critical_phase.cli.sweep_file import Cell
from critical_phase.cli.sweep_numbers import cell_numbers
from critical_phase.cli.sweep_reuse import NOTE, drop, read_note, reuse_heads, reuse_scores
from critical_phase.cli.train import train_run
from critical_phase.errors import CheckpointError, StoreError
from critical_phase.reports import write_report

Values = dict[str, Any]
Stop = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class CellTask:
    """Everything a worker needs to make one cell."""

    folder: Path
    """Folder of the sweep."""
    sweep: str
    """Name of the sweep."""
    cell: Cell
    collect: CollectSettings
    analyze: AnalyzeSettings | None
    command: str

    @property
    def path(self) -> Path:
        """Run folder of the cell."""
        return self.folder / self.cell.name

    @property
    def failure(self) -> Path:
        """Where a failure of the cell is written."""
        return self.folder / "failed" / f"{self.cell.name}.json"

    def made_of(self) -> Values:
        """List what decides the results of the cell."""
        return {
            "train": self.cell.train.model_dump(mode="json"),
            "collect": self.collect.model_dump(mode="json"),
            "analyze": self.analyze and self.analyze.model_dump(mode="json"),
        }


class Stopped(KeyboardInterrupt):
    """The user asked for a stop, and what was in hand is finished."""


def is_finished(task: CellTask) -> bool:
    """Say whether the cell was finished with these very settings."""
    note, wanted = read_note(task.path), task.made_of()
    same = all(note.get(key) == wanted[key] for key in wanted)
    return same and bool(note.get("numbers")) and RunFolder(task.path).plan.is_file()


def make_cell(task: CellTask, stop: Stop) -> None:
    """Train, collect and analyse one cell, or go on where it was left.

    Raises:
        Stopped: A stop was asked for; the next call goes on from here.
    """
    run = RunFolder(task.path)
    note: Values = {"schema_version": 1, "cell": task.cell.name, **task.made_of()}
    before = read_note(task.path)
    same = before.get("train") == note["train"] and before.get("collect") == note["collect"]
    taken: dict[str, str] = dict(before.get("reused", {})) if same else {}
    write_json(run.path / NOTE, {**note, "reused": taken})
    _train(run, task, taken)
    write_json(run.path / NOTE, {**note, "reused": taken})
    _continue(stop)
    _collect(run, task, note["collect"], taken)
    _continue(stop)
    findings = None
    if task.analyze is not None:
        findings = analyze_run(run.path, task.analyze)
        write_report(run.path)
    update_record(run, "", reused=taken)
    numbers = cell_numbers(run, findings)
    write_json(
        run.path / NOTE, {**note, "reused": taken, "version": __version__, "numbers": numbers}
    )
    task.failure.unlink(missing_ok=True)


def note_failure(task: CellTask, error: BaseException | None, message: str) -> None:
    """Write why a cell could not be made."""
    lines = "" if error is None else "".join(traceback.format_exception(error))
    write_json(
        task.failure,
        {
            "schema_version": 1,
            "command": "sweep",
            "unit": task.cell.name,
            "error": type(error).__name__ if error else "WorkerLost",
            "message": message,
            "traceback": lines,
            "host": platform.node(),
            "seed": task.cell.train.seed,
        },
    )


def _continue(stop: Stop) -> None:
    if stop():
        raise Stopped


def _train(run: RunFolder, task: CellTask, taken: dict[str, str]) -> None:
    """Train the heads that no other cell has."""
    # Before the first file: whatever the cell's scores are linked to, they name one run.
    update_record(run, "", run_id=task.sweep)
    linked = reuse_heads(run, task.cell.train)
    try:
        train_run(run.path, task.cell.train, command=task.command)
    except CheckpointError as error:
        if not linked:
            raise
        say(f"{task.cell.name}: {'; '.join(linked)} of other cells do not fit: {error.args[0]}")
        drop(run, linked)
        linked = {}
        train_run(run.path, task.cell.train, command=task.command)
    taken.update(linked)


def _collect(run: RunFolder, task: CellTask, collect: Values, taken: dict[str, str]) -> None:
    """Score what no other cell has scored."""
    linked = reuse_scores(run, task.cell.train, collect)
    try:
        report = collect_run(run.path, task.collect)
    except StoreError as error:
        if not linked:
            raise
        say(f"{task.cell.name}: {'; '.join(linked)} of other cells do not fit: {error.args[0]}")
        drop(run, linked)
        linked = {}
        report = collect_run(run.path, task.collect)
    taken.update(linked)
    if report.failed:
        first = report.failed[0]
        raise StoreError(
            f"{len(report.failed)} checkpoints could not be collected, first {first.unit.name}: "
            f"{first.message}",
            where=str(first.path),
        )
