"""Open finished files without locks and turn every damage into one error with a remedy."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from critical_phase.errors import StoreError
from critical_phase.probes import bfloat16

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
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, RuntimeError) as error:
        raise StoreError(
            f"the file is damaged or not HDF5: {str(error).splitlines()[0]}",
            where=str(path),
            fix=_COLLECT_AGAIN,
        ) from error


def read_array(file: h5py.File, path: Path, name: str, layer: int | None = None) -> np.ndarray:
    """Read one dataset, or one layer of it; two-byte floats come as float32.

    Raises:
        StoreError: No such dataset or layer.
    """
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        raise StoreError(
            f"no dataset {name!r}; stored: {', '.join(dataset_names(file))}",
            where=str(path),
            fix="collect again with the collector that writes it",
        )
    index = None if layer is None else _layer_index(file, path, found, layer)
    if h5py.check_string_dtype(found.dtype) is not None:
        return np.asarray(found.asstr()[()])
    if bfloat16.is_bfloat16(found):
        return bfloat16.read(found, index)
    values = np.asarray(found[()] if index is None else found[index])
    return values.astype(np.float32) if values.dtype == np.float16 else values


def dataset_names(file: h5py.File) -> tuple[str, ...]:
    """List every dataset that is not an axis."""
    names: list[str] = []

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and not item.is_scale:
            names.append(name)

    file.visititems(visit)
    return tuple(sorted(names))


def _layer_index(file: h5py.File, path: Path, dataset: h5py.Dataset, layer: int) -> int:
    axis = dataset.dims[0].label
    layers = file[axis][()].tolist() if axis in ("layer", "block") else []
    if layer not in layers:
        raise StoreError(
            f"no layer {layer} in {dataset.name}; stored: {layers or 'no layers'}",
            where=str(path),
        )
    return int(layers.index(layer))
