"""Open finished files without locks and turn every damage into one error with a remedy."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import torch

from critical_phase.errors import CriticalPhaseError, StoreError
from critical_phase.probes import bfloat16
from critical_phase.probes.damaged import DamagedFilesError
from critical_phase.probes.raw_chunks import read_checked

_COLLECT_AGAIN = "delete the file and run probe collect again; finished files are kept"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading; damage inside the block becomes a StoreError.

    Raises:
        StoreError: The file is missing, cut short or changed on disk.
    """
    if not path.is_file():
        raise StoreError("no such file", where=str(path), fix="run probe collect first")
    try:
        with _open(path) as file:
            yield file
    except CriticalPhaseError:
        raise
    # Damaged headers come out of h5py as any of these.
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise damage(error, path) from error


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        # A process must open a file in one way: here somebody holds it open with locks.
        if "locking flag" not in str(error):
            raise
        return h5py.File(path, "r")


def read_axes(file: h5py.File) -> None:
    """Read every axis of a file, which checks its checksum; `dataset_names` leaves them out."""
    for item in file.values():
        if isinstance(item, h5py.Dataset) and item.is_scale:
            item[()]


def damage(error: Exception, path: Path) -> DamagedFilesError:
    """Say in one line what HDF5 found wrong, with a remedy."""
    found = (str(error).splitlines() or [repr(error)])[0]
    return damaged_file(path, found, "the file is damaged or not HDF5: ")


def damaged_file(path: Path, found: str, before: str = "") -> DamagedFilesError:
    """Say that a file cannot be used, with a remedy."""
    return DamagedFilesError(
        before + found, where=str(path), fix=_COLLECT_AGAIN, files=((path, found),)
    )


def read_array(file: h5py.File, path: Path, name: str, layer: int | None = None) -> np.ndarray:
    """Read one dataset, or one layer of it; two-byte floats come as float32.

    Raises:
        StoreError: No such dataset or layer.
    """
    found = find_dataset(file, path, name)
    index = None if layer is None else layer_index(file, path, found, layer)
    if h5py.check_string_dtype(found.dtype) is not None:
        return np.asarray(found.asstr()[()])
    if index is not None and (values := read_checked(file, found, index)) is not None:
        return values
    if bfloat16.is_bfloat16(found):
        return bfloat16.read(found, index)
    values = np.asarray(found[()] if index is None else found[index])
    # torch converts halves twenty times as fast as NumPy, to the same numbers.
    return torch.from_numpy(values).float().numpy() if values.dtype == np.float16 else values


def find_dataset(file: h5py.File, path: Path, name: str) -> h5py.Dataset:
    """Return a dataset by name.

    Raises:
        StoreError: The file has none of this name.
    """
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        raise StoreError(
            f"no dataset {name!r}; stored: {', '.join(dataset_names(file))}",
            where=str(path),
            fix="collect again with the collector that writes it",
        )
    return found


def dataset_names(file: h5py.File) -> tuple[str, ...]:
    """List every dataset that is not an axis."""
    names: list[str] = []

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and not item.is_scale:
            names.append(name)

    file.visititems(visit)
    return tuple(sorted(names))


def layer_index(file: h5py.File, path: Path, dataset: h5py.Dataset, layer: int) -> int:
    """Return the place of a layer, or of a block, along the first axis.

    Raises:
        StoreError: The dataset has no layers, or not this one.
    """
    axis = dataset.dims[0].label
    layers = file[axis][()].tolist() if axis in ("layer", "block") else []
    if layer not in layers:
        raise StoreError(
            f"no layer {layer} in {dataset.name}; stored: {layers or 'no layers'}",
            where=str(path),
        )
    return int(layers.index(layer))
