"""Bytes per second of one layer over all checkpoints: our reader, a memory map, plain h5py.

map         np.memmap of the same numbers in a flat file, the layer copied to an array
ours        `stream_layer`, every chunk compared with its checksum
unchecked   the same with verify=False
hdf5        bfloat16 through HDF5 as raw words, with checksums
h5py        `file["residual"][i]`, with checksums; bfloat16 in HDF5's own conversion
h5py_plain  the same from a file without checksums

All sides give a new float32 array per checkpoint and must give equal values; bytes are those
stored. They take turns in one process with rotated order; the page cache is warm. Ratios are
medians of paired process CPU times, one thread; `_wall` ones are of wall time, and those with
`_threads_N` let our reader use N threads. `parts` measures the two things ours cannot avoid.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from timing import about_machine, parser, report

from critical_phase.probes import bfloat16, stream_layer
from critical_phase.probes.collector import Dataset
from critical_phase.probes.fletcher import Fletcher32
from critical_phase.probes.store import write_file

DIMS = ("layer", "row", "position", "d_model")
LAYER = 1
SLOW_ROWS = 64
"""Rows that h5py converts to time its bfloat16: it takes seconds for a layer."""
Side = Callable[[], list[np.ndarray]]
Times = dict[str, list[tuple[float, float]]]
"""Process CPU seconds and wall seconds of every round, by side."""


@dataclass(frozen=True)
class Stored:
    """The same numbers three times: our files, files without checksums, flat files."""

    dtype: torch.dtype
    shape: tuple[int, int, int, int]
    ours: list[Path]
    plain: list[Path]
    flat: list[Path]

    @property
    def layer_bytes(self) -> int:
        """Bytes of one layer over all checkpoints."""
        return len(self.ours) * int(np.prod(self.shape[1:])) * self.dtype.itemsize


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of our reader")
    arguments = asked.parse_args()
    torch.set_num_threads(1)
    result = measure(
        quick=arguments.quick,
        rounds=arguments.rounds or (5 if arguments.quick else 9),
        threads=arguments.threads,
    )
    report(result, line, as_json=arguments.json)


def line(row: dict[str, Any]) -> str:
    speed = f"{row['gb_per_cpu_s']:7.2f} GB per CPU s {row['gb_per_s']:7.2f} GB/s"
    return f"{row['dtype']:9} {row['side']:16} {speed}"


def measure(*, quick: bool, rounds: int, threads: int) -> dict[str, Any]:
    shape = (2, 4096, 2, 512) if quick else (2, 8192, 2, 1024)
    rows: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    for dtype in (torch.float32, torch.bfloat16):
        with tempfile.TemporaryDirectory() as folder:
            stored = write(Path(folder), dtype, shape, checkpoints=4)
            sides = make_sides(stored, threads)
            check_equal(sides)
            times = take_turns(sides | make_parts(stored), rounds)
            slow = one_slow_side(stored) if dtype == torch.bfloat16 else None
        name = str(dtype).removeprefix("torch.")
        rows += [one_row(name, side, stored.layer_bytes, found) for side, found in times.items()]
        rows += [one_row(name, "h5py", *slow)] if slow else []
        ratios |= compare(name, times, threads)
    return {
        "schema_version": 1,
        "name": "read",
        "ratios": {"vs_memory_map": ratios["vs_memory_map_float32"], **ratios},
        "rows": rows,
        "shape": dict(zip(DIMS, shape, strict=True)),
        "checkpoints": 4,
        "page_cache": "warm",
        **about_machine(),
        "threads": threads,
        "quick": quick,
        "rounds": rounds,
    }


def write(
    folder: Path, dtype: torch.dtype, shape: tuple[int, int, int, int], checkpoints: int
) -> Stored:
    coordinates = {name: np.arange(n) for name, n in zip(DIMS, shape, strict=True)}
    made = Stored(dtype, shape, [], [], [])
    for step in range(checkpoints):
        values = torch.randn(shape, generator=torch.Generator().manual_seed(step)).to(dtype)
        names = [folder / f"{kind}-{step}" for kind in ("ours", "plain", "flat")]
        ours, plain, flat = names
        attributes = {"plan_sha256": "p", "head": "positive", "step": step}
        array = (Dataset("residual", DIMS, dtype, "random numbers"), values)
        write_file(ours, "activations", [array], coordinates, attributes)
        raw = values.view(torch.int16).numpy() if dtype == torch.bfloat16 else values.numpy()
        raw.tofile(flat)
        if dtype == torch.float32:
            with h5py.File(ours) as there, h5py.File(plain, "x") as file:
                file.create_dataset("residual", data=raw, chunks=there["residual"].chunks)
            made.plain.append(plain)
        made.ours.append(ours)
        made.flat.append(flat)
    return made


def make_sides(stored: Stored, threads: int) -> dict[str, Side]:
    def mapped() -> list[np.ndarray]:
        kind = np.uint16 if stored.dtype == torch.bfloat16 else np.float32
        maps = [np.memmap(path, kind, "r", shape=stored.shape) for path in stored.flat]
        return [widen(one[LAYER]) for one in maps]

    def streamed(count: int, *, verify: bool) -> list[np.ndarray]:
        found = stream_layer(stored.ours, "residual", LAYER, verify=verify, threads=count)
        return [one.values for one in found]

    def plainly(paths: list[Path]) -> list[np.ndarray]:
        made = []
        for path in paths:
            with h5py.File(path, "r", locking=False) as file:
                made.append(file["residual"][LAYER])
        return made

    def words() -> list[np.ndarray]:
        made = []
        for path in stored.ours:
            with h5py.File(path, "r", locking=False) as file:
                made.append(bfloat16.read(file["residual"], LAYER))
        return made

    sides: dict[str, Side] = {
        "map": mapped,
        "ours": lambda: streamed(1, verify=True),
        "unchecked": lambda: streamed(1, verify=False),
    }
    if stored.dtype == torch.bfloat16:
        sides["hdf5"] = words
    if stored.dtype == torch.float32:
        sides["h5py"] = lambda: plainly(stored.ours)
        sides["h5py_plain"] = lambda: plainly(stored.plain)
    if threads > 1:
        sides[f"ours_threads_{threads}"] = lambda: streamed(threads, verify=True)
        sides[f"unchecked_threads_{threads}"] = lambda: streamed(threads, verify=False)
    return sides


def widen(stored: np.ndarray) -> np.ndarray:
    """Copy float32; widen bfloat16 block by block, as quickly as NumPy can."""
    if stored.dtype == np.float32:
        return np.array(stored)
    out = np.empty(stored.shape, np.uint32)
    for start in range(0, len(stored), 256):
        part = out[start : start + 256]
        np.copyto(part, stored[start : start + 256])
        np.left_shift(part, 16, out=part)
    return out.view(np.float32)


def make_parts(stored: Stored) -> dict[str, Side]:
    """The bytes into memory that is there already, and their checksums while they are warm."""
    size = 1 << 20
    chunk = np.zeros(size, np.uint8)
    chunks = stored.layer_bytes // size

    def copied() -> list[np.ndarray]:
        for path in stored.flat:
            with path.open("rb", buffering=0) as file:
                for _ in range(chunks // len(stored.flat)):
                    file.readinto(chunk)
        return []

    def summed() -> list[np.ndarray]:
        sums = Fletcher32(chunks, size)
        for place in range(chunks):
            sums.add(place, chunk)
        return [sums.checksums()]

    return {"parts: read": copied, "parts: checksum": summed}


def check_equal(sides: Mapping[str, Side]) -> None:
    expected = sides["map"]()
    for name, side in sides.items():
        found = side()
        if not all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True)):
            raise SystemExit(f"{name} gives other values than the memory map")


def one_slow_side(stored: Stored) -> tuple[int, list[tuple[float, float]]]:
    """Time HDF5's own conversion of bfloat16 on a few rows."""

    def few() -> list[np.ndarray]:
        with h5py.File(stored.ours[0], "r", locking=False) as file:
            return [file["residual"][LAYER, :SLOW_ROWS]]

    size = SLOW_ROWS * int(np.prod(stored.shape[2:])) * stored.dtype.itemsize
    return size, [seconds_of(few) for _ in range(3)]


def take_turns(sides: Mapping[str, Side], rounds: int) -> Times:
    names = list(sides)
    times: Times = {name: [] for name in names}
    for index in range(rounds + 1):
        for name in names[index % len(names) :] + names[: index % len(names)]:
            found = seconds_of(sides[name])
            if index:  # the first round warms up
                times[name].append(found)
    return times


def seconds_of(side: Side) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    side()
    return time.process_time() - cpu, time.perf_counter() - wall


def one_row(
    dtype: str, side: str, size: int, times: list[tuple[float, float]]
) -> dict[str, str | float]:
    cpu, wall = (statistics.median(values) for values in zip(*times, strict=True))
    return {
        "dtype": dtype,
        "side": side,
        "gb_per_cpu_s": size / cpu / 1e9,
        "gb_per_s": size / wall / 1e9,
        "cpu_s": cpu,
        "wall_s": wall,
        "bytes": size,
    }


def compare(dtype: str, times: Times, threads: int) -> dict[str, float]:
    def ratio(other: str, ours: str, clock: int) -> float:
        pairs = zip(times[other], times[ours], strict=True)
        return statistics.median(a[clock] / b[clock] for a, b in pairs)

    made = {
        f"vs_memory_map_{dtype}": ratio("map", "ours", 0),
        f"vs_memory_map_unchecked_{dtype}": ratio("map", "unchecked", 0),
        f"vs_memory_map_wall_{dtype}": ratio("map", "ours", 1),
    }
    made |= {f"vs_{n}_{dtype}": ratio(n, "ours", 0) for n in ("hdf5", "h5py") if n in times}
    if threads > 1:
        for side in ("ours", "unchecked"):
            extra = "" if side == "ours" else "_unchecked"
            name = f"vs_memory_map{extra}_wall_threads_{threads}_{dtype}"
            made[name] = ratio("map", f"{side}_threads_{threads}", 1)
    return made


if __name__ == "__main__":
    sys.exit(main())
