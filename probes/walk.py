"""Go through jobs one at a time: one that fails is named, and a stop ends it in good order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from critical_phase.errors import CriticalPhaseError, StoreError

Job = TypeVar("Job")


@dataclass(frozen=True, slots=True)
class Walked(Generic[Job]):
    """What became of every job."""

    done: tuple[Job, ...]
    existing: tuple[Job, ...]
    """Had a finished file already."""
    failed: tuple[tuple[Job, str], ...]
    remaining: tuple[Job, ...]
    """Not begun, because a stop was asked for."""


def walk(
    jobs: Sequence[Job],
    work: Callable[[Job], bool],
    *,
    progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Walked[Job]:
    """Do every job.

    Args:
        jobs: In order.
        work: Does one; False where there was nothing to do.
        progress: Called with the number of jobs that were dealt with before this one.
        stop: Asked before every job; True ends the walk.

    Raises:
        StoreError: A file is in the way, or the disk is full: no later job would do better.
    """
    done: list[Job] = []
    existing: list[Job] = []
    failed: list[tuple[Job, str]] = []
    for place, job in enumerate(jobs):
        if stop is not None and stop():
            return Walked(tuple(done), tuple(existing), tuple(failed), tuple(jobs[place:]))
        try:
            new = work(job)
        except StoreError:
            raise
        except CriticalPhaseError as error:
            failed.append((job, str(error)))
        else:
            (done if new else existing).append(job)
        if progress is not None:
            progress(place)
    return Walked(tuple(done), tuple(existing), tuple(failed), ())
