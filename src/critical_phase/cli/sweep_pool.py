"""Make the cells of a sweep: one after another, or by several workers on this machine."""

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from critical_phase.cli.console import say
from critical_phase.cli.sweep_cell import (
    CellTask,
    Stop,
    Stopped,
    is_finished,
    make_cell,
    note_failure,
)
from critical_phase.cli.sweep_reuse import head_settings
from critical_phase.cli.sweep_worker import work
from critical_phase.probes.engines.devices import environment, places, visible_devices

Tell = Callable[[str], None]


@dataclass(slots=True)
class Outcome:
    """What became of the cells of one call."""

    done: list[str] = field(default_factory=list)
    existing: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """Cells not begun, or not finished, because a stop was asked for."""


def run_serial(tasks: Sequence[CellTask], stop: Stop) -> Outcome:
    """Make cells one after another in this process."""
    outcome, open_tasks = _open(tasks)
    for number, task in enumerate(open_tasks):
        if stop():
            outcome.left += [one.cell.name for one in open_tasks[number:]]
            break
        try:
            make_cell(task, stop)
        except KeyboardInterrupt as error:
            outcome.left += [one.cell.name for one in open_tasks[number:]]
            if isinstance(error, Stopped) or stop():
                break
            raise
        except Exception as error:
            note_failure(task, error, str(error))
            _note(outcome, task, "failed", str(error))
        else:
            _note(outcome, task, "done", "")
    return outcome


def run_pool(tasks: Sequence[CellTask], jobs: int, stop: Stop) -> Outcome:
    """Make cells by workers of their own, each with its share of processors and one GPU.

    A cell that can take a head from an earlier one waits for it. A worker that dies costs its
    cell and no other.
    """
    outcome, open_tasks = _open(tasks)
    pool = _Pool(min(jobs, max(1, len(open_tasks))))
    waiting = list(open_tasks)
    try:
        while (waiting and not stop()) or pool.busy:
            for task in _ready(waiting, pool.in_hand) if not stop() else []:
                if not pool.idle:
                    break
                waiting.remove(task)
                pool.give(task)
            for task, status, message in pool.results():
                if status == "left":
                    outcome.left.append(task.cell.name)
                else:
                    _note(outcome, task, status, message)
    finally:
        pool.close()
    outcome.left += [task.cell.name for task in waiting]
    return outcome


def _open(tasks: Sequence[CellTask]) -> tuple[Outcome, list[CellTask]]:
    finished = [task for task in tasks if is_finished(task)]
    outcome = Outcome(existing=[task.cell.name for task in finished])
    return outcome, [task for task in tasks if task not in finished]


def _note(outcome: Outcome, task: CellTask, status: str, message: str) -> None:
    getattr(outcome, status).append(task.cell.name)
    say(f"{status}: {task.cell.name}{f': {message.splitlines()[0]}' if message else ''}")


def _ready(waiting: Sequence[CellTask], in_hand: Sequence[CellTask]) -> list[CellTask]:
    """Choose the cells for which no earlier cell is making a head that they could take."""
    ready, earlier = [], list(in_hand)
    for task in waiting:
        if not any(_shares_a_head(task, one) for one in earlier):
            ready.append(task)
        earlier.append(task)
    return ready


def _shares_a_head(task: CellTask, other: CellTask) -> bool:
    ours, theirs = (one.cell.train.model_dump(mode="json") for one in (task, other))
    heads = set(task.cell.train.heads) & set(other.cell.train.heads)
    return any(head_settings(ours, head) == head_settings(theirs, head) for head in heads)


@dataclass(slots=True)
class _Worker:
    number: int
    process: Any
    link: Connection
    task: CellTask | None = None


class _Pool:
    """Workers that were started afresh, never forked: torch must not see this process's state."""

    def __init__(self, size: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._places = places(size, visible_devices())
        self._workers = [self._start(number) for number in range(size)]

    @property
    def idle(self) -> bool:
        return any(worker.task is None for worker in self._workers)

    @property
    def busy(self) -> bool:
        return any(worker.task is not None for worker in self._workers)

    @property
    def in_hand(self) -> list[CellTask]:
        return [worker.task for worker in self._workers if worker.task is not None]

    def give(self, task: CellTask) -> None:
        worker = next(one for one in self._workers if one.task is None)
        worker.task = task
        try:
            worker.link.send(task)
        except OSError:  # it died while it had nothing to do
            fresh = self._workers[worker.number] = self._start(worker.number)
            fresh.task = task
            fresh.link.send(task)

    def results(self) -> Iterator[tuple[CellTask, str, str]]:
        """Wait for the first worker to report or die; yield task, status and message."""
        busy = {worker.link: worker for worker in self._workers if worker.task is not None}
        for link in wait(list(busy)) if busy else ():
            worker = busy[link]  # type: ignore[index]
            task = worker.task
            assert task is not None
            worker.task = None
            try:
                status, message = worker.link.recv()
            except (EOFError, OSError):
                worker.process.join()
                message = f"the worker died (exit code {worker.process.exitcode})"
                note_failure(task, None, message)
                status = "failed"
                self._workers[worker.number] = self._start(worker.number)
            yield task, status, message

    def close(self) -> None:
        """End workers that have nothing in hand, and stop the others."""
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.link.send(None)
            if worker.task is not None:
                worker.process.terminate()
            worker.process.join()
            worker.link.close()

    def _start(self, number: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        with environment(self._places[number]):
            process = self._context.Process(target=work, args=(theirs,), daemon=False)
            process.start()
        theirs.close()
        say(str(self._places[number]))
        return _Worker(number, process, ours)
