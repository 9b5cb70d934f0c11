"""What an export holds of a stored file: datasets piece by piece, axes and provenance."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from critical_phase.probes.finite import COUNT, FIRST
from critical_phase.probes.raw_chunks import read_type
from critical_phase.probes.reading import damage, read_array

IDENTITY = "rows/"
"""Datasets that say which row is which; every export has them."""
_OF_HDF5 = ("DIMENSION_LIST", "DIMENSION_LABELS")
"""What ties a dataset to its scales; written anew, or as `dims`."""


@dataclass(frozen=True, slots=True)
class Piecewise:
    """One dataset of an open file, read one layer at a time; two-byte floats as float32."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    attributes: dict[str, Any]
    """Those of the stored dataset, and `source_dtype`."""
    source: h5py.Dataset
    path: Path

    @property
    def size_bytes(self) -> int:
        """Size of the values."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def pieces(self) -> Iterator[np.ndarray]:
        """Read the values in order: layer by layer where there are layers.

        Raises:
            StoreError: The file is damaged.
        """
        try:
            yield from self._pieces()
        except (OSError, RuntimeError) as error:
            raise damage(error, self.path) from error

    def _pieces(self) -> Iterator[np.ndarray]:
        if self.dims[:1] not in (("layer",), ("block",)) or len(self.dims) < 2:
            yield read_array(self.source.file, self.path, self.name)
            return
        for layer in self.source.file[self.dims[0]][()].tolist():
            yield read_array(self.source.file, self.path, self.name, int(layer))


@dataclass(frozen=True, slots=True)
class Content:
    """Everything that goes into one export."""

    datasets: tuple[Piecewise, ...]
    axes: dict[str, np.ndarray]
    """Values along each axis that the datasets use; text as Unicode strings."""
    attributes: dict[str, Any]
    """Provenance of the stored file and of the export."""

    @property
    def size_bytes(self) -> int:
        """Size of all values."""
        return sum(one.size_bytes for one in self.datasets)

    def to_json(self) -> str:
        """Write attributes, and what is said of every dataset, as one JSON object."""
        described = {one.name: {"dims": one.dims, **one.attributes} for one in self.datasets}
        value = {"attributes": self.attributes, "datasets": described}
        return json.dumps(value, default=_plain, sort_keys=True)


def read_content(
    file: h5py.File, path: Path, names: tuple[str, ...], made: dict[str, Any]
) -> Content:
    """Describe the chosen datasets of an open file; values are read when they are written.

    Args:
        file: The open file.
        path: Its name, for errors.
        names: Datasets to export.
        made: Attributes that say how the export is made.
    """
    datasets = tuple(_dataset(file, path, name) for name in names)
    used = sorted({dim for one in datasets for dim in one.dims})
    axes = {name: _axis(file, path, name) for name in used}
    attributes = {name: _plain(value) for name, value in file.attrs.items()}
    count = sum(int(one.attributes.get(COUNT, 0)) for one in datasets)
    if COUNT in attributes:
        attributes[COUNT] = count
    if str(attributes.get(FIRST, "")).partition(",")[0] not in names:
        attributes.pop(FIRST, None)
    return Content(datasets, axes, attributes | made)


def _dataset(file: h5py.File, path: Path, name: str) -> Piecewise:
    found = file[name]
    dtype = read_type(found)
    attributes = {key: _plain(value) for key, value in found.attrs.items() if key not in _OF_HDF5}
    attributes |= {
        "source_dtype": attributes.get("storage_dtype", str(found.dtype)),
        "storage_dtype": str(dtype),
    }
    dims = tuple(dim.label for dim in found.dims)
    return Piecewise(name, dims, found.shape, dtype, attributes, found, path)


def _axis(file: h5py.File, path: Path, name: str) -> np.ndarray:
    values = read_array(file, path, name)
    return values.astype(np.str_) if values.dtype == object else values


def _plain(value: Any) -> Any:
    """Turn NumPy's numbers and arrays into Python's."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
