"""What one job of an array does: its part of the tasks, with one small file per answer.

Nothing heavy is loaded here, as in `worker`. A job shares nothing with whoever submitted it
but a folder, so that results are seen as they come and a killed job costs the task in hand.
"""

import json
import os
import pickle
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from critical_phase.atomic import write_json
from critical_phase.worker import Answer, Fault, begin_work, perform, pin


@dataclass(frozen=True, slots=True)
class Desk:
    """The folder between the jobs of an array and whoever reads their answers."""

    path: Path

    def begin(self, number: int) -> None:
        """Note that a task is in hand."""
        (self.path / f"begun-{number}").touch()

    def put(self, name: str, answer: Answer) -> None:
        """Write an answer, at once and whole."""
        write_json(self.path / f"{name}.json", answer.as_json())

    def names(self) -> set[str]:
        """List what is there: a network file system shows new names to who lists them first."""
        return {entry.name for entry in os.scandir(self.path)}

    def read(self, name: str) -> Answer:
        """Read an answer that is there."""
        text = (self.path / f"{name}.json").read_text(encoding="utf-8")
        return Answer.from_json(json.loads(text))

    def ask_to_stop(self) -> None:
        """Let jobs end after the task in hand."""
        (self.path / "stop").touch()

    @property
    def stopping(self) -> bool:
        """Whether jobs are to end."""
        return (self.path / "stop").exists()


@dataclass(frozen=True, slots=True)
class Part:
    """The part of one job."""

    desk: Desk
    number: int
    """Of the part, from 0."""
    work: bytes
    """Pickled; unpickled once the environment is set."""
    tasks: tuple[tuple[int, Any], ...]
    """Number and content of every task."""


def take_part(part: Part) -> int:
    """Do the tasks of a part in order; return how many were begun."""
    answer = Answer("unopened")
    try:
        pin(_one_device(), _threads())
        run, answer = begin_work(pickle.loads(part.work))
    except Exception as error:
        run, answer = None, Answer("unopened", fault=Fault.of(error))
    part.desk.put(f"opened-{part.number}", answer)
    sys.stderr.write(f"part {part.number}: {answer.value or answer.fault}\n")  # its log
    begun = 0
    for number, task in part.tasks if run is not None else ():
        if part.desk.stopping:
            break
        assert run is not None
        part.desk.begin(number)
        begun += 1
        answer = perform(run, task)
        part.desk.put(f"answer-{number}", answer)
        if answer.status == "abandoned":
            break
    return begun


def _one_device() -> str | None:
    """Choose the first GPU that the job may see: clusters do not hide the others of a node."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return None if given is None else given.split(",")[0]


def _threads() -> int | None:
    """Take what Slurm gave the job; an explicit OMP_NUM_THREADS wins."""
    given = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return None if os.environ.get("OMP_NUM_THREADS") or not given.isdecimal() else int(given)
