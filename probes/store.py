"""Write and read the files of a unit: scores, activations, side effects (docs/format.md).

One writer per file, a temporary name, then a rename: a final name that exists is whole.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from critical_phase.atomic import disk_error, new_file
from critical_phase.errors import StoreError
from critical_phase.probes import bfloat16
from critical_phase.probes.collector import Coordinate, Dataset
from critical_phase.probes.finite import (
    COUNT,
    count_non_finite,
    non_finite_attributes,
    refuse_overflow,
)
from critical_phase.probes.reading import dataset_names, opened, read_array
from critical_phase.probes.reserve import check_room, give_back, hold_room

Kind = Literal["scores", "activations", "effects"]
Attributes = Mapping[str, str | int | float]
CONVENTIONS = {
    "scores": "probe-scores/1.0",
    "activations": "probe-activations/1.0",
    "effects": "probe-effects/1.0",
}
_CHUNK_BYTES = 1 << 20  # the default chunk cache of HDF5 before 2.0
_HEADERS = 1 << 18  # generous: files of all collectors take 75 kB
_CHUNK_HEADER = 256  # checksum and place in the index, generous
_PER_COORDINATE = 64


@dataclass(frozen=True, eq=False)
class ScoreFile:
    """Scores of one checkpoint, every row of the plan."""

    logprob_sum: Float[np.ndarray, " row"]
    """Log-probability of the candidate, summed over its tokens, in nats."""
    first_token_logprob: Float[np.ndarray, " row"]
    """Log-probability of the candidate's first token, in nats."""
    tokens: Int[np.ndarray, " row"]
    """Tokens of the candidate."""
    characters: Int[np.ndarray, " row"]
    """Characters of the candidate's text."""
    bytes: Int[np.ndarray, " row"]
    """UTF-8 bytes of the candidate's text."""
    attrs: dict[str, Any]
    """Provenance: step, head, hashes, versions."""


def write_file(
    path: Path,
    kind: Kind,
    arrays: Sequence[tuple[Dataset, Tensor]],
    coordinates: Mapping[str, Coordinate],
    attributes: Attributes,
) -> None:
    """Write one finished file at once; nothing is left behind when it fails.

    Args:
        path: Final name; an older file there is replaced as a whole.
        kind: Which convention the file follows.
        arrays: Datasets with their values.
        coordinates: Values along each axis, by axis name.
        attributes: Provenance of the file.

    Raises:
        StoreError: The disk is full, the folder cannot be written, or float16 cannot hold
            a value.
    """
    refuse_overflow(arrays, coordinates, str(attributes.get("compute_dtype", "")))
    try:
        with new_file(path) as temporary:
            room = _most_bytes(arrays, coordinates)
            check_room(temporary, room)
            with h5py.File(
                temporary, "x", libver=("earliest", "v110"), track_order=True, locking="best-effort"
            ) as file:
                file.flush()
                hold_room(temporary, room)
                _fill(file, kind, arrays, coordinates, attributes)
            give_back(temporary)
            _verify(temporary, arrays)
    except RuntimeError as error:  # HDF5 reports a failed flush on close in this way
        failure = OSError(28 if "No space left" in str(error) else 5, str(error))
        raise disk_error(failure, path) from error


def read_scores(path: Path) -> ScoreFile:
    """Read the scores of one checkpoint.

    Raises:
        StoreError: The file is missing, damaged or of another kind.
    """
    with opened(path) as file:
        _check_kind(file, path, "scores")
        names = ("logprob_sum", "first_token_logprob", "tokens", "characters", "bytes")
        values = {name: read_array(file, path, name) for name in names}
        return ScoreFile(**values, attrs=dict(file.attrs))


def read_activations(path: Path, dataset: str, layer: int | None = None) -> np.ndarray:
    """Read one dataset of an activations file.

    Args:
        path: The file.
        dataset: Its path in the file, such as `residual` or `attention_summary/sink_mass`.
        layer: Read this layer or block alone; -1 is the embedding, in `residual` only.

    Returns:
        Values as stored, except that two-byte floats come as float32.

    Raises:
        StoreError: The file is missing or damaged, or holds no such dataset or layer.
    """
    with opened(path) as file:
        _check_kind(file, path, "activations")
        return read_array(file, path, dataset, layer)


def read_effects(path: Path) -> dict[str, np.ndarray]:
    """Read the side effects of one checkpoint: every dataset by name, as docs/format.md has it.

    Raises:
        StoreError: The file is missing, damaged or of another kind.
    """
    with opened(path) as file:
        _check_kind(file, path, "effects")
        return {name: read_array(file, path, name) for name in dataset_names(file)}


def read_attrs(path: Path) -> dict[str, Any]:
    """Read the provenance of a scores, activations or effects file.

    Raises:
        StoreError: The file is missing or damaged.
    """
    with opened(path) as file:
        return dict(file.attrs)


def _check_kind(file: h5py.File, path: Path, kind: Kind) -> None:
    found = file.attrs.get("Conventions")
    if found != CONVENTIONS[kind]:
        raise StoreError(
            f"expected a file of the convention {CONVENTIONS[kind]!r}, found {found!r}",
            where=str(path),
            fix=f"give a file from this run's {kind}/ folder",
        )


def _fill(
    file: h5py.File,
    kind: Kind,
    arrays: Sequence[tuple[Dataset, Tensor]],
    coordinates: Mapping[str, Coordinate],
    attributes: Attributes,
) -> None:
    _note(file, "Conventions", CONVENTIONS[kind])
    for name, value in sorted(attributes.items()):
        _note(file, name, value)
    scales = {name: _write_coordinate(file, name, v) for name, v in coordinates.items()}
    for dataset, tensor in arrays:
        made = _write(file, dataset, tensor)
        for axis, dim in enumerate(dataset.dims):
            made.dims[axis].label = dim
            made.dims[axis].attach_scale(scales[dim])
        _note(made, "about", dataset.about)
        _note(made, "storage_dtype", str(tensor.dtype).removeprefix("torch."))
        if count := count_non_finite(tensor):
            _note(made, COUNT, count)
        if dataset.hook_name:
            _note(made, "hook_name", dataset.hook_name)
    if kind == "activations":
        for name, stated in non_finite_attributes(arrays, coordinates).items():
            _note(file, name, stated)
    _note(file, "complete", 1)


def _note(owner: h5py.File | h5py.Dataset, name: str, value: str | int | float) -> None:
    """Add an attribute; h5py's own way writes it under another name first and renames it."""
    data = np.asarray(value, dtype=h5py.string_dtype() if isinstance(value, str) else None)
    kind = h5py.h5t.py_create(data.dtype, logical=True)
    made = h5py.h5a.create(owner.id, name.encode(), kind, h5py.h5s.create(h5py.h5s.SCALAR))
    made.write(data)


def _write_coordinate(file: h5py.File, name: str, values: Coordinate) -> h5py.Dataset:
    if isinstance(values, tuple):
        made = file.create_dataset(name, data=list(values), dtype=h5py.string_dtype())
    else:
        made = file.create_dataset(name, data=values, chunks=values.shape, fletcher32=True)
    made.make_scale(name)
    return made


def _write(file: h5py.File, dataset: Dataset, tensor: Tensor) -> h5py.Dataset:
    chunks = _chunks(dataset.dims, tuple(tensor.shape), tensor.element_size())
    group = file
    *parents, name = dataset.name.split("/")
    for parent in parents:
        group = group.require_group(parent)
    if tensor.dtype == torch.bfloat16:
        made = bfloat16.create(group, name, tuple(tensor.shape), chunks)
        bfloat16.write(made, tensor)
        return made
    return group.create_dataset(name, data=tensor.numpy(), chunks=chunks, fletcher32=True)


def _chunks(dims: tuple[str, ...], shape: tuple[int, ...], item: int) -> tuple[int, ...]:
    """One layer and as many rows as fit one MiB, whole in every other axis."""
    sizes = list(shape)
    if dims[0] in ("layer", "block") and len(dims) > 1:
        sizes[0] = 1
    axis = 1 if len(dims) > 1 else 0
    others = item * int(np.prod(sizes[:axis] + sizes[axis + 1 :], dtype=np.int64))
    sizes[axis] = max(1, min(sizes[axis], _CHUNK_BYTES // max(others, 1)))
    return tuple(sizes)


def _most_bytes(
    arrays: Sequence[tuple[Dataset, Tensor]], coordinates: Mapping[str, Coordinate]
) -> int:
    """Bound the size of a file from above; chunks at the edge of an array are stored whole."""
    size = _HEADERS
    for dataset, tensor in arrays:
        shape, item = tuple(tensor.shape), tensor.element_size()
        chunks = _chunks(dataset.dims, shape, item)
        count = int(np.prod([-(-n // c) for n, c in zip(shape, chunks, strict=True)]))
        size += count * (int(np.prod(chunks)) * item + _CHUNK_HEADER)
    return size + sum(_PER_COORDINATE * len(values) for values in coordinates.values())


def _verify(path: Path, arrays: Sequence[tuple[Dataset, Tensor]]) -> None:
    """Open the closed file again: everything is there, in the right size."""
    with opened(path) as file:
        whole = all(
            d.name in file and file[d.name].shape == tuple(tensor.shape) for d, tensor in arrays
        )
        if not whole or file.attrs.get("complete") != 1:
            raise StoreError("a file just written does not read back", where=str(path.parent))


def to_json(value: object) -> str:
    """Write settings in the one form that keys are compared in."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
