"""One layer over all checkpoints, file after file, as quickly as its checksums allow."""

import contextlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from critical_phase.errors import StoreError
from critical_phase.probes.raw_chunks import locate, read_raw, read_type
from critical_phase.probes.reading import find_dataset, layer_index, opened, read_array


@dataclass(frozen=True, slots=True, eq=False)
class LayerAtStep:
    """One layer of one checkpoint."""

    path: Path
    head: str
    step: int
    values: np.ndarray
    """Row first, as stored; two-byte floats as float32."""
    checked: bool
    """Every chunk was compared with its checksum."""
    way: Literal["raw", "hdf5"]
    """`raw`: the file's bytes were read past HDF5; `hdf5`: through it."""


def stream_layer(
    files: Iterable[Path],
    dataset: str,
    layer: int,
    *,
    verify: bool = True,
    threads: int = 1,
    reuse: bool = False,
) -> Iterator[LayerAtStep]:
    """Read the same layer of many files, one at a time and in the order given.

    No more than one layer of one file is held. Damage is found as HDF5 would find it: where a
    checksum does not fit HDF5 has the last word.

    Args:
        files: Files of one plan, such as those of one head in step order.
        dataset: Path of a dataset whose first axis is `layer` or `block`.
        layer: Which one; -1 is the embedding, in `residual` only.
        verify: Compare with the checksums. False is quicker, may return wrong numbers from a
            damaged disk, and is noted in `checked`.
        threads: Threads that share the chunks of a file.
        reuse: Give the same memory for every file: what is kept must be copied.

    Raises:
        StoreError: A file is missing or damaged, belongs to another plan than the first, has
            no such dataset or layer, or has no checksums to compare with.
    """
    plan, memory = None, None
    with _threads(threads) as pool:
        for path in files:
            with opened(path) as file:
                plan = _same_plan(file, path, plan)
                found = find_dataset(file, path, dataset)
                index = layer_index(file, path, found, layer)
                out = _memory_for(found, memory)
                memory = out if reuse else None
                _check_verifiable(found, path, verify)
                raw = locate(file, found, index)
                if raw is None or not read_raw(raw, out, verify=verify, pool=pool, workers=threads):
                    # Compressed, of another layout, or a checksum that does not fit.
                    out[...] = read_array(file, path, dataset, layer)
                    raw = None
                checked = bool(found.fletcher32) and (verify or raw is None)
                head, step = str(file.attrs.get("head", "")), int(file.attrs.get("step", -1))
            yield LayerAtStep(path, head, step, out, checked, "hdf5" if raw is None else "raw")


def _check_verifiable(dataset: h5py.Dataset, path: Path, verify: bool) -> None:
    if verify and not dataset.fletcher32:
        raise StoreError(
            f"{dataset.name} has no checksums to compare with",
            where=str(path),
            fix="pass verify=False for files that probe did not write",
        )


def _same_plan(file: h5py.File, path: Path, first: str | None) -> str:
    found = str(file.attrs.get("plan_sha256", ""))
    if first is not None and found != first:
        raise StoreError(
            "this file belongs to another plan than the first one: their rows differ",
            where=str(path),
            fix="give files of one run",
        )
    return found


def _memory_for(dataset: h5py.Dataset, before: np.ndarray | None) -> np.ndarray:
    """Take the memory of the file before where it fits."""
    dtype, shape = read_type(dataset), dataset.shape[1:]
    if before is not None and before.shape == shape and before.dtype == dtype:
        return before
    return np.empty(shape, dtype)


@contextlib.contextmanager
def _threads(count: int) -> Iterator[Executor | None]:
    if count == 1:
        yield None
        return
    with ThreadPoolExecutor(count) as pool:
        yield pool
