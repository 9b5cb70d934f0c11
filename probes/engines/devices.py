"""Which GPU and how many threads each worker gets; set before a worker imports torch."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """What one worker is given."""

    number: int
    """Of the worker, from 0."""
    device: str | None
    """Value of CUDA_VISIBLE_DEVICES; None leaves the variable as it is."""
    threads: int
    """Value of OMP_NUM_THREADS."""

    def __str__(self) -> str:
        """Say it as it is logged."""
        where = "no GPU" if self.device is None else f"CUDA_VISIBLE_DEVICES={self.device}"
        return f"worker {self.number}: {where}, OMP_NUM_THREADS={self.threads}"


def visible_devices() -> tuple[str, ...]:
    """Name the GPUs of this machine as CUDA_VISIBLE_DEVICES names them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return tuple(name.strip() for name in given.split(",") if name.strip())
    import torch

    return tuple(str(number) for number in range(torch.cuda.device_count()))


def cores() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_per_worker(workers: int) -> int:
    """Share the processors out; an explicit OMP_NUM_THREADS wins."""
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(given) if given.isdecimal() and int(given) else max(1, cores() // workers)


def places(workers: int, devices: Sequence[str]) -> tuple[Place, ...]:
    """Give every worker one GPU, in turn where there are fewer, and its share of processors."""
    threads = threads_per_worker(workers)
    return tuple(
        Place(number, devices[number % len(devices)] if devices else None, threads)
        for number in range(workers)
    )


@contextlib.contextmanager
def environment(place: Place) -> Iterator[None]:
    """Set for the length of a block what a process that is started in it inherits."""
    wanted = {"OMP_NUM_THREADS": str(place.threads)}
    wanted |= {} if place.device is None else {"CUDA_VISIBLE_DEVICES": place.device}
    before = {key: os.environ.get(key) for key in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
