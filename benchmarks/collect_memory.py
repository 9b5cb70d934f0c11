"""Peaks of memory, each in a process of its own: imports and model count, earlier sides do not."""

import multiprocessing
from collections.abc import Callable
from typing import Any

from timing import read_status, settle


def measure_memory(
    sides: dict[str, Callable[[], object]],
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Take the peak of a fresh process for each side.

    Args:
        sides: What each process does; `imports` nothing, `floor` the bare passes and `ours`
            a collection. `ours_more_checkpoints` and `ours_more_rows` are compared with it.
    """
    peaks = {name: peak_of(work) for name, work in sides.items()}
    rows = [
        {"table": "memory", "side": name, "seconds": {}, "peak_mib": value}
        for name, value in peaks.items()
    ]
    own = {name: value - peaks["imports"] for name, value in peaks.items()}
    ratios = {
        "peak_memory": peaks["ours"] / peaks["floor"],
        "peak_memory_without_imports": own["ours"] / own["floor"],
    }
    for name in ("more_checkpoints", "more_rows"):
        if f"ours_{name}" in peaks:
            ratios[f"peak_memory_{name}"] = peaks[f"ours_{name}"] / peaks["ours"]
    return rows, ratios


def peak_of(work: Callable[[], object]) -> float:
    """Give the most memory, in MiB, that a process holds while it does this."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=peak_worker, args=(work, theirs))
    process.start()
    theirs.close()
    peak = float(ours.recv())
    process.join()
    return peak


def peak_worker(work: Callable[[], object], link: Any) -> None:
    settle()
    work()
    link.send(read_status("VmHWM"))
