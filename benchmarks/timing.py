"""What all benchmarks share: sides that take turns, process CPU time, peaks of memory."""

import argparse
import ctypes
import json
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers


def parser(about: str | None, quick: str = "smaller") -> argparse.ArgumentParser:
    """Make a parser with the options that every benchmark has; `quick` says what is smaller."""
    made = argparse.ArgumentParser(description=about)
    made.add_argument("--quick", action="store_true", help=f"{quick}, under 60 seconds")
    made.add_argument("--json", action="store_true", help="print one JSON object")
    made.add_argument("--rounds", type=int, default=0, help="rounds of all sides")
    return made


def settle() -> None:
    """Fix the threads and silence what libraries print on the way."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    warnings.filterwarnings("ignore")
    transformers.utils.logging.disable_progress_bar()


def report(result: dict[str, Any], line: Callable[[dict[str, Any]], str], *, as_json: bool) -> None:
    """Print the result as one JSON object, or a line for each row and the ratios."""
    if as_json:
        print(json.dumps(result))
        return
    for row in result["rows"]:
        print(line(row))
    print({name: float(f"{value:.3g}") for name, value in result["ratios"].items()})


def about_machine() -> dict[str, Any]:
    """Say what the figures were measured on."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "threads": torch.get_num_threads(),
    }


def take_turns(
    sides: dict[str, Callable[[int], object]],
    rounds: int,
    clock: Callable[[], float] = time.process_time,
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Run every side once a round, in rotated order; the first round warms up.

    Returns:
        Seconds, and MiB of peak memory above what was in use before, by side and round.
    """
    names = list(sides)
    times: dict[str, list[float]] = {name: [] for name in names}
    peaks: dict[str, list[float]] = {name: [] for name in names}
    for index in range(rounds + 1):
        for name in rotated(names, index):
            before = start_peak()
            started = clock()
            sides[name](index)
            seconds = clock() - started
            if index:
                times[name].append(seconds)
                peaks[name].append(read_status("VmHWM") - before)
    return times, peaks


def rotated(names: Sequence[str], by: int) -> list[str]:
    """Begin with another name each time."""
    place = by % len(names)
    return [*names[place:], *names[:place]]


def paired(values: dict[str, list[float]], a: str, b: str) -> float:
    """Take the median over rounds of the ratio of two sides."""
    return statistics.median(x / y for x, y in zip(values[a], values[b], strict=True))


def start_peak() -> float:
    """Give freed memory back, forget the last peak, and return what is in use, in MiB."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return read_status("VmRSS")


def read_status(field: str) -> float:
    """Read one line of this process' status, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(field))
