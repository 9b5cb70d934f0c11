"""Flip single bits of stored files and see what notices: `python tests/flipping.py FILE ...`.

Every reader runs in a process of its own, so that a crash of the library is an outcome too.
"""

import argparse
import collections
import multiprocessing
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from critical_phase.errors import StoreError
from critical_phase.probes import read_attrs, validate
from critical_phase.probes.reading import dataset_names, opened, read_array

PATIENCE_S = 20.0


def regions(path: Path) -> np.ndarray:
    """Name the kind of every byte: `values`, `checksum` of values, or `header`."""
    kinds = np.full(path.stat().st_size, "header", dtype="U8")

    def visit(_: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if item.chunks is None:
            begin, size = item.id.get_offset(), item.id.get_storage_size()
            if begin is not None:
                kinds[begin : begin + size] = "values"
            return
        for number in range(item.id.get_num_chunks()):
            chunk = item.id.get_chunk_info(number)
            end = chunk.byte_offset + chunk.size
            kinds[chunk.byte_offset : end - 4] = "values"
            kinds[end - 4 : end] = "checksum"

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return kinds


def everything(path: Path) -> dict[str, Any]:
    """All that any reader of this package can be given from a file."""
    found: dict[str, Any] = {f"@{name}": str(value) for name, value in read_attrs(path).items()}
    with opened(path) as file:
        axes = [name for name, item in file.items() if isinstance(item, h5py.Dataset)]
        for name in {*dataset_names(file), *axes}:
            values = read_array(file, path, name)
            labels = [dim.label for dim in file[name].dims]
            found[name] = (str(values.dtype), values.shape, repr(values.tolist()), labels)
    return found


def _look(link: Connection, path: Path, whole: dict[str, Any]) -> None:
    try:
        validate(path)
        link.send("changed a value" if everything(path) != whole else "changed nothing")
    except StoreError as error:
        link.send("refused" if path.name in str(error) else f"refused without a name: {error}")
    except Exception as error:
        link.send(f"{type(error).__name__}: {error}")


def outcome(path: Path, whole: dict[str, Any]) -> str:
    """Validate and read a file in a process of its own, and say what came of it."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_look, args=(theirs, path, whole))
    process.start()
    theirs.close()
    try:
        found = str(ours.recv()) if ours.poll(PATIENCE_S) else "hangs"
    except EOFError:
        found = "crashes"
    if found == "hangs":
        process.kill()
    process.join()
    return found


def flip(path: Path, bits: np.ndarray, copy: Path) -> collections.Counter[tuple[str, str]]:
    """Count outcomes by region over flips of one bit each."""
    kinds, whole, content = regions(path), everything(path), path.read_bytes()
    table: collections.Counter[tuple[str, str]] = collections.Counter()
    for bit in bits.tolist():
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        copy.write_bytes(changed)
        table[str(kinds[bit // 8]), outcome(copy, whole)] += 1
    return table


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--region", choices=["header", "values", "checksum"])
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        for path in asked.files:
            kinds = regions(path)
            chosen = kinds == asked.region if asked.region else np.ones(kinds.size, dtype=bool)
            share = {str(kind): int((kinds == kind).sum()) for kind in np.unique(kinds)}
            say(f"{path}: bytes by region {share}")
            places = rng.choice(np.flatnonzero(chosen), size=asked.flips)
            bits = places * 8 + rng.integers(0, 8, size=asked.flips)
            table = flip(path, bits, Path(folder) / "flipped.h5")
            for (region, found), count in sorted(table.items()):
                say(f"{count:6} {region:9} {found}")
    sys.exit(0)


if __name__ == "__main__":
    main()
