"""Work for engines that takes no model: tasks that write a file, fail, or die."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from critical_phase.errors import CheckpointError, StoreError
from critical_phase.worker import AbandonedError


@dataclass(frozen=True)
class Fake:
    """Opened once per worker; a task is `(name, what to do)`."""

    folder: Path
    seconds: float = 0.0
    refuse: str = ""

    def __call__(self) -> Callable[[Any], Any]:
        if self.refuse == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.refuse:
            raise CheckpointError(self.refuse, fix="look")
        opened = [0]

        def run(task: Any) -> dict[str, Any]:
            name, what = task
            opened[0] += 1
            self._log(name)
            time.sleep(self.seconds)
            if what == "fail":
                raise ValueError(f"{name} fails")
            if what == "fail once" and self._tries(name) == 1:
                raise ValueError(f"{name} fails once")
            if what == "die" or (what == "die once" and self._tries(name) == 1):
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "abandon":
                raise AbandonedError from StoreError("the disk is full", fix="free some space")
            (self.folder / name).write_text(f"made of {name}\n")
            return {
                "name": name,
                "process": os.getpid(),
                "number": opened[0],
                "device": os.environ.get("CUDA_VISIBLE_DEVICES"),
                "threads": os.environ.get("OMP_NUM_THREADS"),
            }

        return run

    def _log(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("a") as file:
            file.write(f"{time.time()}\n")

    def _tries(self, name: str) -> int:
        return len((self.folder / f"{name}.log").read_text().splitlines())
