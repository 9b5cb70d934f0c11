"""A pool of processes on this machine: one per GPU, or any number on the processors."""

from collections.abc import Generator, Sequence
from typing import Any

from critical_phase.errors import ConfigError
from critical_phase.probes.engines.contract import Result, Stop, Tell
from critical_phase.probes.engines.crew import drive
from critical_phase.probes.engines.devices import places, visible_devices
from critical_phase.probes.engines.pool import LocalCrew
from critical_phase.worker import Work


class LocalEngine:
    """Workers of this machine, started with spawn."""

    def __init__(
        self,
        *,
        tell: Tell,
        jobs: int | None = None,
        devices: Sequence[str] | None = None,
        retries: int = 0,
    ) -> None:
        """Decide how many workers there are and what each one gets.

        Args:
            tell: Told which worker gets which GPU and how many threads.
            jobs: Number of workers; None is one per GPU.
            devices: GPUs as CUDA_VISIBLE_DEVICES names them; None asks the machine.
            retries: How often a task that went wrong is tried again.

        Raises:
            ConfigError: There is no GPU and no number of workers, or it is below 1.
        """
        self._devices = tuple(visible_devices() if devices is None else devices)
        if jobs is None and not self._devices:
            raise ConfigError(
                "no GPU is in use, so the number of workers is open",
                fix="say how many share the processors with --jobs N",
            )
        self._jobs = len(self._devices) if jobs is None else jobs
        if self._jobs < 1:
            raise ConfigError(f"asked for {jobs} workers", fix="give --jobs a positive number")
        self._tell, self._retries = tell, retries

    def map(
        self, work: Work, tasks: Sequence[Any], *, first: Sequence[Any] = (), stop: Stop
    ) -> Generator[Result, None, None]:
        """Do tasks in worker processes; see `Engine.map`."""

        def start(workers: int) -> LocalCrew:
            # Threads by the workers asked for: what is resumed is computed as before.
            chosen = places(self._jobs, self._devices)[:workers]
            return LocalCrew(work, chosen, self._tell)

        return drive(start, self._jobs, first, tasks, retries=self._retries, stop=stop)
