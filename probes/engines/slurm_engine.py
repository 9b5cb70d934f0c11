"""Workers are the jobs of one Slurm array, submitted through submitit.

A job takes a fixed part of the tasks and outlives this process: what it finishes is finished.
"""

import contextlib
import pickle
import shutil
import time
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from critical_phase.array_part import Desk, Part, take_part
from critical_phase.errors import ConfigError, CriticalPhaseError
from critical_phase.probes.engines.contract import Result, Stop, TaskBook, Tell, raised
from critical_phase.worker import Answer, Fault, Work

GENERAL = {"timeout_min": int, "mem_gb": float, "cpus_per_task": int, "gpus_per_node": int}
"""Options that submitit knows for every cluster; all others are Slurm's own."""
PATIENCE_S = 20
"""How long a cancelled job of this machine is waited for."""


class SlurmEngine:
    """One array of jobs per round; what was not begun or is tried again goes into the next."""

    def __init__(
        self,
        *,
        tell: Tell,
        folder: Path,
        jobs: int,
        options: Mapping[str, str | int | float] | None = None,
        retries: int = 0,
    ) -> None:
        """Note what to submit.

        Args:
            tell: Told the ids of jobs.
            folder: Seen by all nodes; scripts, logs and answers go into it.
            jobs: Jobs of the array.
            options: Passed on to submitit, such as `partition` and `timeout_min`; `cluster`
                chooses another executor of submitit, `local` or `debug`.
            retries: How often a task that went wrong is tried again.

        Raises:
            ConfigError: submitit is not installed, the number of jobs is below 1, or an
                option is not known.
        """
        try:
            import submitit
        except ImportError as error:
            raise ConfigError(
                "the engine slurm needs the package submitit",
                fix="pip install 'critical-phase[slurm]', or use --shard i/n in a script of yours",
            ) from error
        if jobs < 1:
            raise ConfigError(f"asked for {jobs} jobs", fix="give --jobs a positive number")
        self._submitit, self._tell, self._folder = submitit, tell, folder.resolve()
        self._jobs, self._retries = jobs, retries
        self._options = dict(options or {})
        self._cluster = str(self._options.pop("cluster", "slurm"))

    def map(
        self, work: Work, tasks: Sequence[Any], *, first: Sequence[Any] = (), stop: Stop
    ) -> Generator[Result, None, None]:
        """Do tasks in jobs; see `Engine.map`."""
        book, pickled = TaskBook(first, tasks, self._retries), pickle.dumps(work)
        while book.waiting and not stop():
            numbers = list(iter(book.take, None))
            desk = Desk(self._folder / uuid.uuid4().hex[:12])
            jobs = self._submit(desk, numbers, book, pickled)
            yield from _Round(desk, numbers, book, jobs, self._cluster).run(stop)

    def _submit(self, desk: Desk, numbers: list[int], book: TaskBook, work: bytes) -> list[Any]:
        desk.path.mkdir(parents=True)
        parts = [
            Part(desk, i, work, tuple((n, book.task(n)) for n in numbers[i :: self._jobs]))
            for i in range(min(self._jobs, len(numbers)))
        ]
        try:
            executor = self._submitit.AutoExecutor(folder=desk.path / "jobs", cluster=self._cluster)
            executor.update_parameters(name="probe-collect", **self._parameters())
            jobs: list[Any] = executor.map_array(take_part, parts)
        except (NameError, AssertionError, RuntimeError, OSError, ValueError) as error:
            shutil.rmtree(desk.path, ignore_errors=True)
            raise ConfigError(
                f"submitit refused the jobs: {error}", fix="look at --slurm, and at sbatch itself"
            ) from error
        self._tell(f"{len(jobs)} jobs: {', '.join(str(job.job_id) for job in jobs)}: {desk.path}")
        return jobs

    def _parameters(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in self._options.items():
            made[key if key in GENERAL else f"slurm_{key.removeprefix('slurm_')}"] = value
        return made


class _Round:
    """One array: reads answers as they come, and settles what is left when all jobs ended."""

    def __init__(
        self, desk: Desk, numbers: list[int], book: TaskBook, jobs: list[Any], cluster: str
    ) -> None:
        self._desk, self._open, self._book, self._jobs = desk, set(numbers), book, jobs
        self._here = cluster != "slurm"
        self._wait_s = 0.1 if self._here else 2.0
        self._answers = 0

    def run(self, stop: Stop) -> Iterator[Result]:
        asked = False
        try:
            while not self._all_ended():
                yield from self._read()
                if stop() and not asked:
                    asked = True
                    self._ask_to_stop()
                time.sleep(self._wait_s)
            yield from self._read()
            yield from self._settle(stop())
        except BaseException:
            self._cancel(self._jobs)
            self._let_end()
            raise

    def _let_end(self) -> None:
        """Reap what was cancelled; a cluster does that by itself."""
        until = time.monotonic() + PATIENCE_S
        while self._here and not self._all_ended() and time.monotonic() < until:
            time.sleep(self._wait_s)

    def _all_ended(self) -> bool:
        return all(job.done() for job in self._jobs)

    def _read(self) -> Iterator[Result]:
        names = self._desk.names()
        for number in sorted(self._open):
            if f"answer-{number}.json" in names:
                self._open.discard(number)
                self._answers += 1
                yield from self._note(number, self._desk.read(f"answer-{number}"))

    def _settle(self, stopped: bool) -> Iterator[Result]:
        """Count what was in hand of a job that died as lost; put back what was not begun."""
        names = self._desk.names()
        begun = [number for number in sorted(self._open) if f"begun-{number}" in names]
        for number in sorted(self._open - set(begun), reverse=True):
            self._book.put_back(number)
        if not (begun or self._answers or stopped):
            raise self._why_nothing(names)
        for number in begun:
            text = f"the job died with this in hand; logs: {self._desk.path / 'jobs'}"
            yield from self._note(number, Answer("lost", fault=Fault("WorkerLost", text)))
        if not self._open:
            shutil.rmtree(self._desk.path, ignore_errors=True)

    def _note(self, number: int, answer: Answer) -> Iterator[Result]:
        result = self._book.note(number, answer)
        if result is not None:
            yield result

    def _why_nothing(self, names: set[str]) -> Exception:
        for name in sorted(name for name in names if name.startswith("opened-")):
            answer = self._desk.read(name.removesuffix(".json"))
            if answer.status == "unopened":
                return raised(answer.fault)
        return CriticalPhaseError(
            f"no job began a task: {', '.join(str(job.state) for job in self._jobs)}",
            where=str(self._desk.path / "jobs"),
            fix="read the logs there; most often time or memory: see --slurm",
        )

    def _ask_to_stop(self) -> None:
        self._desk.ask_to_stop()
        self._cancel([job for job in self._jobs if job.state == "PENDING"])

    def _cancel(self, jobs: list[Any]) -> None:
        for job in jobs:
            with contextlib.suppress(Exception):  # it may have ended meanwhile
                job.cancel(check=False)
