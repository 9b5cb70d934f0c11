"""One task after another in this process."""

from collections.abc import Generator, Sequence
from typing import Any

from critical_phase.probes.engines.contract import Result, Stop, TaskBook
from critical_phase.worker import Work, perform


class SerialEngine:
    """The engine without workers: what it loses when the process dies is the task in hand."""

    def __init__(self, *, retries: int = 0) -> None:
        """Note how often a task that went wrong is tried again."""
        self._retries = retries

    def map(
        self, work: Work, tasks: Sequence[Any], *, first: Sequence[Any] = (), stop: Stop
    ) -> Generator[Result, None, None]:
        """Do tasks in order; see `Engine.map`."""
        book = TaskBook(first, tasks, self._retries)
        if not book.waiting or stop():
            return
        run = work()
        while not stop() and (number := book.take()) is not None:
            result = book.note(number, perform(run, book.task(number)))
            if result is not None:
                yield result
