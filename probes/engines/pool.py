"""Worker processes of this machine, started afresh: torch must not see this process's state."""

import contextlib
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from critical_phase.probes.engines.contract import Tell
from critical_phase.probes.engines.devices import Place, environment
from critical_phase.worker import Answer, Fault, Work, serve

STARTS = 2
"""How often a worker that dies before it is ready is started; then its place is given up."""


@dataclass(slots=True)
class _Worker:
    place: Place
    process: Any
    link: Connection
    open: bool = False
    task: int | None = None


class LocalCrew:
    """One process per place; one that dies is replaced."""

    def __init__(self, work: Work, places: Sequence[Place], tell: Tell) -> None:
        """Start all workers; they open the work side by side."""
        self._work, self._tell = work, tell
        self._context = multiprocessing.get_context("spawn")
        self._starts = dict.fromkeys(places, 0)
        self._refusal: Fault | None = None
        self._workers: list[_Worker] = []
        for place in places:
            self._start(place)

    @property
    def able(self) -> bool:
        """Whether a worker is open, or may still open."""
        return bool(self._workers)

    @property
    def free(self) -> int:
        """Workers that are open and have nothing in hand."""
        return sum(worker.open and worker.task is None for worker in self._workers)

    @property
    def busy(self) -> bool:
        """Whether a worker has a task in hand."""
        return any(worker.task is not None for worker in self._workers)

    @property
    def refusal(self) -> Fault | None:
        """Why the last worker that was given up could not open."""
        return self._refusal

    def give(self, number: int, task: Any) -> None:
        """Hand a numbered task to a free worker; one that is dead already is found by `answers`."""
        worker = next(one for one in self._workers if one.open and one.task is None)
        worker.task = number
        with contextlib.suppress(OSError):
            worker.link.send((task,))

    def answers(self, timeout_s: float) -> Iterator[tuple[int, Answer]]:
        """Wait until a worker answers or dies; yield numbers of tasks and answers."""
        links = {worker.link: worker for worker in self._workers}
        for link in wait(list(links), timeout_s):
            worker = links[link]  # type: ignore[index]
            try:
                answer = worker.link.recv()
            except (EOFError, OSError):
                answer = self._bury(worker)
            number, worker.task = worker.task, None
            if not worker.open and answer.status in ("ready", "unopened"):
                self._note_opening(worker, answer)
            elif number is not None:
                yield number, answer

    def close(self) -> None:
        """End all workers, whatever they have in hand."""
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.link.send(None)
            if worker.task is not None or not worker.open:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join(10)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.link.close()
        self._workers = []

    def _start(self, place: Place) -> None:
        ours, theirs = self._context.Pipe()
        with environment(place), _interrupts_held_back():
            process = self._context.Process(target=serve, args=(theirs,), daemon=False)
            process.start()
        theirs.close()
        self._starts[place] += 1
        with contextlib.suppress(OSError):
            ours.send(self._work)
        self._workers.append(_Worker(place, process, ours))
        self._tell(str(place))

    def _bury(self, worker: _Worker) -> Answer:
        """Take a dead worker out, and put another into its place if that may help."""
        worker.process.join()
        worker.link.close()
        self._workers.remove(worker)
        fault = Fault("WorkerLost", f"the worker died (exit code {worker.process.exitcode})")
        if worker.open or self._starts[worker.place] < STARTS:
            self._start(worker.place)
        else:
            self._tell(f"worker {worker.place.number} is given up: {fault.message}")
        return Answer("lost", fault=fault)

    def _note_opening(self, worker: _Worker, answer: Answer) -> None:
        worker.open = answer.status == "ready"
        if worker.open:
            self._starts[worker.place] = 0
            return
        self._refusal = answer.fault
        message = "" if answer.fault is None else answer.fault.message
        self._tell(f"worker {worker.place.number} is given up: {message}")
        worker.process.join()
        worker.link.close()
        self._workers.remove(worker)


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: this one tells them when to end."""
    resource_tracker.ensure_running()  # started by the first process, it would undo the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
