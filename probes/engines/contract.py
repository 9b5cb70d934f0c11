"""What every engine promises: tasks run in workers that open once; answers come as they come."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from critical_phase.worker import Answer, Fault, Work

Stop = Callable[[], bool]
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one task."""

    index: int
    """Number of the task: those that go first, then the others, from 0."""
    task: Any
    status: str
    """`done`; `failed`: an exception; `lost`: the worker died."""
    value: Any
    """What the task returned; None unless it is done."""
    fault: Fault | None
    """Why it is not done."""
    seconds: float
    """Time of the last attempt; 0 where the worker died."""
    attempts: int
    """How often it was tried, from 1."""


@runtime_checkable
class Engine(Protocol):
    """Runs tasks in workers."""

    def map(
        self, work: Work, tasks: Sequence[Any], *, first: Sequence[Any] = (), stop: Stop
    ) -> Generator[Result, None, None]:
        """Yield one result per task, in the order in which they end.

        A task that fails or whose worker dies costs itself alone. Closing the iterator, or
        an exception in its caller, ends the workers.

        Args:
            work: Opened once by every worker, before its first task.
            tasks: Done in any order, by any worker.
            first: Done before any of `tasks` is begun.
            stop: Asked again and again; once it says True no task is begun any more, and
                those in hand are finished.

        Raises:
            AbandonedError's cause: A task said that nothing more can be done.
            CriticalPhaseError: No worker could open the work.
        """
        ...


class TaskBook:
    """Knows which task may be given next, and which is to be tried again."""

    def __init__(self, first: Sequence[Any], tasks: Sequence[Any], retries: int) -> None:
        """Number the tasks; `retries` is how often one that went wrong is tried again."""
        self._tasks = [*first, *tasks]
        self._first, self._retries = len(first), retries
        self._waiting = deque(range(len(self._tasks)))
        self._attempts = [0] * len(self._tasks)
        self._open_first = len(first)

    @property
    def waiting(self) -> int:
        """Tasks that are in nobody's hand."""
        return len(self._waiting)

    def take(self) -> int | None:
        """Return the number of the next task; None while there is none to be begun."""
        if not self._waiting:
            return None
        number = self._waiting[0]
        if number >= self._first and self._open_first:
            return None
        self._attempts[number] += 1
        return self._waiting.popleft()

    def task(self, number: int) -> Any:
        """Return what is to be done."""
        return self._tasks[number]

    def put_back(self, number: int) -> None:
        """Take a task out of a hand that never began it."""
        self._attempts[number] -= 1
        self._waiting.appendleft(number)

    def note(self, number: int, answer: Answer) -> Result | None:
        """Turn an answer into a result; None where the task is tried again.

        Raises:
            AbandonedError's cause: Nothing more can be done.
        """
        if answer.status == "abandoned":
            raise raised(answer.fault)
        if answer.status != "done" and self._attempts[number] <= self._retries:
            (self._waiting.appendleft if number < self._first else self._waiting.append)(number)
            return None
        self._open_first -= number < self._first
        return Result(
            number,
            self._tasks[number],
            answer.status,
            answer.value,
            answer.fault,
            answer.seconds,
            self._attempts[number],
        )


def raised(fault: Fault | None) -> Exception:
    """Return the exception of a fault."""
    return RuntimeError("a worker gave up and did not say why") if fault is None else fault.error()
