"""The formats an export is written in: float32 HDF5, npz and safetensors, all piece by piece."""

import json
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np

from critical_phase.probes.export_content import Content, Piecewise
from critical_phase.probes.reserve import check_room, give_back, hold_room

PROVENANCE = "provenance_json"
"""Where npz and safetensors keep attributes and descriptions, as one JSON object."""
AXIS = "axis/"
"""What the names of coordinates begin with in npz and safetensors."""
_HEADERS = 1 << 20
_CHUNK_BYTES = 1 << 20


class Format(ABC):
    """One way to write an export, and to read back how it was made."""

    suffix: ClassVar[str]

    @abstractmethod
    def write(self, path: Path, content: Content) -> None:
        """Write a new file.

        Raises:
            OSError: The disk is full, or the source is damaged.
        """

    @abstractmethod
    def attributes(self, path: Path) -> Mapping[str, Any]:
        """Read the attributes of an export.

        Raises:
            Exception: The file is no export; any error of a reader.
        """


class Hdf5(Format):
    """The schema of docs/format.md with types that every viewer shows."""

    suffix = ".h5"

    def write(self, path: Path, content: Content) -> None:
        """Write a file of the same convention, with checksums."""
        room = 2 * content.size_bytes + _HEADERS  # chunks at the edge are stored whole
        check_room(path, room)
        with h5py.File(path, "x", libver=("earliest", "v110"), track_order=True) as file:
            file.flush()
            hold_room(path, room)
            complete = content.attributes.get("complete", 1)
            for name, value in content.attributes.items():
                if name != "complete":
                    file.attrs[name] = value
            for name, values in content.axes.items():
                _write_scale(file, name, values)
            for dataset in content.datasets:
                _write_dataset(file, dataset)
            file.attrs["complete"] = complete
        give_back(path)

    def attributes(self, path: Path) -> Mapping[str, Any]:
        """Read the root's attributes."""
        with h5py.File(path, "r", locking=False) as file:
            return dict(file.attrs)


class Npz(Format):
    """Arrays by name for `numpy.load`, without pickles."""

    suffix = ".npz"

    def write(self, path: Path, content: Content) -> None:
        """Write one member per dataset and axis, not compressed."""
        with zipfile.ZipFile(path, "x", zipfile.ZIP_STORED) as archive:
            with _member(archive, PROVENANCE) as file:
                np.lib.format.write_array(file, np.array(content.to_json()), allow_pickle=False)
            for name, values in content.axes.items():
                with _member(archive, AXIS + name) as file:
                    np.lib.format.write_array(file, values, allow_pickle=False)
            for dataset in content.datasets:
                with _member(archive, dataset.name) as file:
                    _write_npy(file, dataset)

    def attributes(self, path: Path) -> Mapping[str, Any]:
        """Read them from the provenance."""
        with np.load(path, allow_pickle=False) as arrays:
            found: dict[str, Any] = json.loads(str(arrays[PROVENANCE]))["attributes"]
            return found


class Safetensors(Format):
    """Tensors by name for torch, JAX and others; what is text goes into the metadata."""

    suffix = ".safetensors"

    def write(self, path: Path, content: Content) -> None:
        """Write the header and then every tensor."""
        numeric = {n: v for n, v in content.axes.items() if v.dtype.kind != "U"}
        texts = {n: v.tolist() for n, v in content.axes.items() if v.dtype.kind == "U"}
        metadata = {PROVENANCE: content.to_json(), "axes_json": json.dumps(texts)}
        header: dict[str, Any] = {"__metadata__": metadata}
        end = 0
        sizes = [(AXIS + n, v.dtype, v.shape, v.nbytes) for n, v in numeric.items()]
        sizes += [(d.name, d.dtype, d.shape, d.size_bytes) for d in content.datasets]
        for name, dtype, shape, size in sizes:
            code = _CODES[dtype.str[1:]]
            header[name] = {"dtype": code, "shape": list(shape), "data_offsets": [end, end + size]}
            end += size
        text = json.dumps(header, ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        with path.open("xb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for values in numeric.values():
                file.write(np.ascontiguousarray(values).data)
            for dataset in content.datasets:
                for piece in dataset.pieces():
                    file.write(np.ascontiguousarray(piece).data)

    def attributes(self, path: Path) -> Mapping[str, Any]:
        """Read them from the metadata."""
        from safetensors import safe_open

        with safe_open(path, "numpy") as file:
            found: dict[str, Any] = json.loads(file.metadata()[PROVENANCE])["attributes"]
            return found


FORMATS: dict[str, Format] = {"hdf5": Hdf5(), "npz": Npz(), "safetensors": Safetensors()}
_CODES = {
    **{f"i{n}": f"I{8 * n}" for n in (1, 2, 4, 8)},
    **{f"u{n}": f"U{8 * n}" for n in (1, 2, 4, 8)},
    **{"f4": "F32", "f8": "F64", "b1": "BOOL"},
}


def _write_scale(file: h5py.File, name: str, values: np.ndarray) -> None:
    if values.dtype.kind == "U":
        made = file.create_dataset(name, data=values.tolist(), dtype=h5py.string_dtype())
    else:
        made = file.create_dataset(name, data=values, chunks=values.shape, fletcher32=True)
    made.make_scale(name)


def _write_dataset(file: h5py.File, dataset: Piecewise) -> None:
    made = file.create_dataset(
        dataset.name, dataset.shape, dataset.dtype, chunks=_chunks(dataset), fletcher32=True
    )
    layered = len(dataset.dims) > 1 and dataset.dims[0] in ("layer", "block")
    for index, piece in enumerate(dataset.pieces()):
        made[index if layered else ...] = piece
    for axis, dim in enumerate(dataset.dims):
        made.dims[axis].label = dim
        made.dims[axis].attach_scale(file[dim])
    for name, value in dataset.attributes.items():
        made.attrs[name] = value


def _chunks(dataset: Piecewise) -> tuple[int, ...]:
    """Keep the chunks of the source, with fewer rows where values became wider."""
    chunks = list(dataset.source.chunks or dataset.shape)
    if len(chunks) > 1:
        row = int(np.prod(chunks)) // chunks[1] * dataset.dtype.itemsize
        chunks[1] = max(1, min(chunks[1], _CHUNK_BYTES // max(row, 1)))
    return tuple(chunks)


def _member(archive: zipfile.ZipFile, name: str) -> Any:
    """Open a member of a fixed date, so that equal content gives equal bytes."""
    made = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    return archive.open(made, "w", force_zip64=True)


def _write_npy(file: Any, dataset: Piecewise) -> None:
    descr = np.lib.format.dtype_to_descr(dataset.dtype)
    header = {"descr": descr, "fortran_order": False, "shape": dataset.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for piece in dataset.pieces():
        file.write(np.ascontiguousarray(piece).data)
