"""Write a page again and again while the results of a run change."""

import time
from collections.abc import Callable
from pathlib import Path

Signature = tuple[tuple[str, int, int], ...]

PARTS = ("analysis", "interventions")
"""Folders of a run whose JSON files a page is made of."""
NAP = 0.2
"""Seconds between two looks at whether to stop."""


def signature(run: Path) -> Signature:
    """Tell results apart by name, size and time: `run.json`, `analysis/` and `interventions/`.

    Files are renamed into place, so one that is listed is whole.
    """
    found = []
    parts = sorted(path for part in PARTS for path in (run / part).glob("*.json"))
    for path in (run / "run.json", *parts):
        try:
            about = path.stat()
        except OSError:  # replaced between listing and looking: the next look sees it
            continue
        found.append((path.relative_to(run).as_posix(), about.st_size, about.st_mtime_ns))
    return tuple(found)


def watch(
    run: Path,
    write: Callable[[], None],
    *,
    stopped: Callable[[], bool],
    every: float = 2.0,
    limit: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Write now, and again each time the results have changed and then held still for one look.

    An analysis writes one file after another; waiting until none changes spares the pages
    between, which would mix old numbers with new ones.

    Args:
        run: Run folder.
        write: Writes the page; what it raises ends the watch.
        stopped: Whether to end, asked several times a second.
        every: Seconds between two looks at the files.
        limit: Seconds after which to end; None goes on until stopped.
        clock: Monotonic seconds.
        sleep: Waits that many seconds.

    Returns:
        How many pages were written.
    """
    end = None if limit is None else clock() + limit
    seen: Signature | None = None
    written, count = None, 0
    while not stopped():
        now = signature(run)
        if now != written and (now == seen or not count):
            write()
            written, count = now, count + 1
        seen = now
        if not _wait(every, end, stopped, clock, sleep):
            break
    return count


def _wait(
    every: float,
    end: float | None,
    stopped: Callable[[], bool],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> bool:
    """Wait for the next look; False when the time of the watch is over first."""
    until = clock() + every
    while (now := clock()) < until:
        if stopped() or (end is not None and now >= end):
            return False
        sleep(min(NAP, until - now))
    return True
