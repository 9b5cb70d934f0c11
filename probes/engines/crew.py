"""Hand tasks to workers that live side by side, and take what they answer."""

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from critical_phase.errors import CriticalPhaseError
from critical_phase.probes.engines.contract import Result, Stop, TaskBook
from critical_phase.worker import Answer, Fault

WAIT_S = 0.2
"""How long to wait for an answer before asking again whether to stop."""


@runtime_checkable
class Crew(Protocol):
    """Workers of one kind."""

    @property
    def able(self) -> bool:
        """Whether a worker is open, or may still open."""
        ...

    @property
    def free(self) -> int:
        """Workers that are open and have nothing in hand."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a worker has a task in hand."""
        ...

    @property
    def refusal(self) -> Fault | None:
        """Why the last worker that was given up could not open."""
        ...

    def give(self, number: int, task: Any) -> None:
        """Hand a numbered task to a free worker."""
        ...

    def answers(self, timeout_s: float) -> Iterator[tuple[int, Answer]]:
        """Wait until a worker answers or dies; yield numbers of tasks and answers."""
        ...

    def close(self) -> None:
        """End all workers, whatever they have in hand."""
        ...


def drive(
    start: Callable[[int], Crew],
    workers: int,
    first: Sequence[Any],
    tasks: Sequence[Any],
    *,
    retries: int,
    stop: Stop,
) -> Generator[Result, None, None]:
    """Do all tasks with a crew; see `Engine.map`.

    Args:
        start: Makes the crew of so many workers.
        workers: At most so many; never more than there are tasks.
        first: Done before any of `tasks` is begun.
        tasks: In any order.
        retries: How often a task that went wrong is tried again.
        stop: Once it says True, no task is begun any more.
    """
    book = TaskBook(first, tasks, retries)
    if not book.waiting or stop():
        return
    crew = start(min(workers, max(len(first), len(tasks))))
    try:
        while crew.busy or (book.waiting and not stop()):
            _check_able(crew)
            while crew.free and not stop() and (number := book.take()) is not None:
                crew.give(number, book.task(number))
            for number, answer in crew.answers(WAIT_S):
                result = book.note(number, answer)
                if result is not None:
                    yield result
    finally:
        crew.close()


def _check_able(crew: Crew) -> None:
    if crew.able:
        return
    if crew.refusal is None:
        raise CriticalPhaseError(
            "every worker died before it was ready",
            fix="most often memory: ask for fewer --jobs, or look at what they printed",
        )
    raise crew.refusal.error()
