"""What a worker process does: open its work once, then take tasks until there is none left.

Nothing heavy is loaded here, so that what a worker must find in its environment (its GPU, its
threads) is set before torch is imported.
"""

import os
import pickle
import platform
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any

from critical_phase import errors

Run = Callable[[Any], Any]
"""Does one task; what it returns can be written as JSON."""
Work = Callable[[], Run]
"""Opens the work in a worker, once; can be pickled."""


class AbandonedError(Exception):
    """No further task can be done: the call ends with the error that this was raised from."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An error, in a form that crosses processes and machines."""

    kind: str
    """Name of the exception's class."""
    message: str
    where: str = ""
    fix: str = ""
    traceback: str = ""
    host: str = ""

    @classmethod
    def of(cls, error: BaseException) -> "Fault":
        """Describe an exception that was raised here."""
        return cls(
            kind=type(error).__name__,
            message=str(error.args[0] if error.args else error),
            where=str(getattr(error, "where", "")),
            fix=str(getattr(error, "fix", "")),
            traceback="".join(traceback.format_exception(error)),
            host=platform.node(),
        )

    def error(self) -> Exception:
        """Make an exception to raise: the project's own class where it was one."""
        kind = getattr(errors, self.kind, None)
        if isinstance(kind, type) and issubclass(kind, errors.CriticalPhaseError):
            return kind(self.message, where=self.where, fix=self.fix)
        made = RuntimeError(f"{self.kind}: {self.message}")
        made.add_note(f"in a worker on {self.host}:\n{self.traceback}")
        return made


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker says: about itself when it opened, or about one task."""

    status: str
    """`ready`, `unopened`, `done`, `failed`, `abandoned`, or `lost` where the worker died."""
    value: Any = None
    """What the task returned; JSON."""
    fault: Fault | None = None
    seconds: float = 0.0
    """Time the task took."""

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Answer":
        """Read what `as_json` made."""
        fault = value["fault"]
        return cls(**{**value, "fault": None if fault is None else Fault(**fault)})


def perform(run: Run, task: Any) -> Answer:
    """Do one task; what goes wrong is the answer."""
    begin = time.perf_counter()
    try:
        value = run(task)
    except AbandonedError as error:
        fault = Fault.of(error.__cause__ or error)
        return Answer("abandoned", fault=fault, seconds=time.perf_counter() - begin)
    except Exception as error:
        return Answer("failed", fault=Fault.of(error), seconds=time.perf_counter() - begin)
    return Answer("done", value, seconds=time.perf_counter() - begin)


def begin_work(work: Work) -> tuple[Run | None, Answer]:
    """Open the work; say where, or what went wrong."""
    try:
        run = work()
    except Exception as error:
        return None, Answer("unopened", fault=Fault.of(error))
    return run, Answer("ready", place())


def place() -> dict[str, Any]:
    """Say where this process runs and what it was given."""
    return {
        "host": platform.node(),
        "process": os.getpid(),
        "devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }


def pin(devices: str | None, threads: int | None) -> None:
    """Set what torch reads when it is imported.

    Raises:
        ConfigError: torch is imported already, so that it may have looked elsewhere.
    """
    wanted = {} if devices is None else {"CUDA_VISIBLE_DEVICES": devices}
    wanted |= {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    changed = {key: value for key, value in wanted.items() if os.environ.get(key) != value}
    if changed and "torch" in sys.modules:
        text = ", ".join(f"{key}={value}" for key, value in changed.items())
        raise errors.ConfigError(
            f"a worker is to get {text}, but torch is imported already",
            fix="leave torch out of what a worker imports before its work",
        )
    os.environ.update(changed)


def serve(link: Connection) -> None:
    """Be a worker at the end of a pipe: the work comes first, then tasks, then None."""
    try:
        work: Work = link.recv()
    except (EOFError, OSError):
        return
    except Exception as error:  # the work could not be unpickled here
        link.send(Answer("unopened", fault=Fault.of(error)))
        return
    run, answer = begin_work(work)
    link.send(answer)
    while run is not None:
        try:
            task = link.recv()
            if task is None:
                return
            link.send(perform(run, task[0]))
        except (EOFError, OSError):  # whoever gave the tasks is gone
            return


class Actor:
    """A worker that lives in a Ray cluster; Ray calls its methods."""

    def __init__(self) -> None:
        """Start with nothing open."""
        self._run: Run | None = None

    def open(self, work: bytes, threads: int) -> Answer:
        """Pin what Ray assigned, before torch is imported, and open the pickled work."""
        import ray

        try:
            pin(",".join(str(one) for one in ray.get_gpu_ids()), threads)
            opened = pickle.loads(work)
        except Exception as error:
            return Answer("unopened", fault=Fault.of(error))
        self._run, answer = begin_work(opened)
        return answer

    def perform(self, task: Any) -> Answer:
        """Do one task."""
        assert self._run is not None
        return perform(self._run, task)
