"""One layer's chunks straight from the file, where HDF5 would do nothing but copy and check.

HDF5 reads under one global lock, checks at a third of our speed and converts two-byte floats
at 20 MB/s. Our chunks are whole rows of one layer, so their bytes are the layer's bytes.
"""

import os
import sys
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import h5py
import numpy as np
import torch

from critical_phase.probes import bfloat16
from critical_phase.probes.fletcher import Fletcher32

_CHECKSUM_BYTES = 4


@dataclass(frozen=True, slots=True)
class RawLayer:
    """Where the bytes of one layer lie in an open file."""

    descriptor: int
    """The file as HDF5 has it open, so a file put in its place meanwhile is not read."""
    offsets: tuple[int, ...]
    """Of each chunk, in the order of its rows."""
    chunk_rows: int
    shape: tuple[int, ...]
    """Of the layer: row first."""
    words: np.dtype
    """Type of the stored bytes; uint16 stands for bfloat16."""
    checked: bool
    """A checksum follows each chunk."""

    @property
    def row_bytes(self) -> int:
        """Size of one row as stored."""
        return int(np.prod(self.shape[1:])) * self.words.itemsize


def locate(file: h5py.File, dataset: h5py.Dataset, index: int) -> RawLayer | None:
    """Find the chunks of one index of the first axis; None where only HDF5 can read them.

    HDF5 is needed for compressed or contiguous datasets, for chunks that hold parts of rows
    or several layers, for other byte orders and on systems without `preadv`.
    """
    words = np.dtype("<u2") if bfloat16.is_bfloat16(dataset) else dataset.dtype
    if not _is_plain(file, dataset, words):
        return None
    rows, chunk_rows = dataset.shape[1], dataset.chunks[1]
    corner = (0,) * (dataset.ndim - 2)
    starts = range(0, rows, chunk_rows)
    stored = [dataset.id.get_chunk_info_by_coord((index, row, *corner)) for row in starts]
    size = int(np.prod(dataset.chunks)) * words.itemsize + _CHECKSUM_BYTES * dataset.fletcher32
    if any(one.byte_offset is None or one.filter_mask or one.size != size for one in stored):
        return None
    return RawLayer(
        file.id.get_vfd_handle(),
        tuple(one.byte_offset for one in stored),
        chunk_rows,
        dataset.shape[1:],
        words,
        dataset.fletcher32,
    )


def read_raw(
    layer: RawLayer, out: np.ndarray, *, verify: bool, pool: Executor | None, workers: int
) -> bool:
    """Read a layer into an array of its shape, converting its type where they differ.

    Args:
        layer: Where the bytes are.
        out: Array to fill: of the stored type, or float32 for two-byte floats.
        verify: Compare every chunk with its checksum.
        pool: Threads to share the chunks between; None reads in this one.
        workers: Into how many parts.

    Returns:
        Whether all chunks that were compared are as they were written.

    Raises:
        OSError: The file ends too early, or the disk fails.
    """
    places = range(len(layer.offsets))
    if pool is None:
        return _read_part(layer, out, verify, places)
    parts = [places[start::workers] for start in range(min(workers, len(places)))]
    return all(list(pool.map(lambda part: _read_part(layer, out, verify, part), parts)))


def read_checked(file: h5py.File, dataset: h5py.Dataset, index: int) -> np.ndarray | None:
    """Read one index of the first axis, with checksums; two-byte floats come as float32.

    Returns:
        None where HDF5 must read it, or must judge it because a checksum does not fit.

    Raises:
        OSError: The file ends too early, or the disk fails.
    """
    layer = locate(file, dataset, index)
    if layer is None or not layer.checked:
        return None
    out = np.empty(layer.shape, read_type(dataset))
    return out if read_raw(layer, out, verify=True, pool=None, workers=1) else None


def read_type(dataset: h5py.Dataset) -> np.dtype:
    """Return the type that values come in: two-byte floats as float32, others as stored."""
    half = bfloat16.is_bfloat16(dataset) or dataset.dtype == np.float16
    return np.dtype(np.float32) if half else dataset.dtype


def _is_plain(file: h5py.File, dataset: h5py.Dataset, words: np.dtype) -> bool:
    filters = dataset.id.get_create_plist()
    codes = {filters.get_filter(i)[0] for i in range(filters.get_nfilters())}
    return bool(
        codes <= {h5py.h5z.FILTER_FLETCHER32}
        and hasattr(os, "preadv")
        and sys.byteorder == "little"
        and words.kind in "fiu"
        and words.isnative
        and dataset.ndim > 1
        and dataset.size
        and dataset.chunks is not None
        and dataset.chunks[0] == 1
        and dataset.chunks[2:] == dataset.shape[2:]
        and file.driver == "sec2"
        and file.userblock_size == 0
    )


def _read_part(layer: RawLayer, out: np.ndarray, verify: bool, places: Sequence[int]) -> bool:
    # By way of a chunk that stays in the cache: quicker than into new memory at once.
    chunk = np.empty(layer.chunk_rows * layer.row_bytes, np.uint8)
    stored = np.zeros((len(places), _CHECKSUM_BYTES), np.uint8)
    sums = Fletcher32(len(places), chunk.size) if verify else None
    for count, place in enumerate(places):
        _fill(layer, place, [chunk, stored[count]] if layer.checked else [chunk])
        if sums is not None:
            sums.add(count, chunk)
        rows = out[place * layer.chunk_rows : (place + 1) * layer.chunk_rows].reshape(-1)
        _convert(chunk.view(layer.words)[: rows.size], rows)
    return sums is None or np.array_equal(sums.checksums(), stored.view("<u4")[:, 0])


def _fill(layer: RawLayer, place: int, parts: list[np.ndarray]) -> None:
    wanted = sum(part.size for part in parts)
    found = os.preadv(layer.descriptor, [part.data for part in parts], layer.offsets[place])
    if found != wanted:
        raise OSError(f"truncated: a chunk of {wanted} bytes ends after {found}")


def _convert(words: np.ndarray, out: np.ndarray) -> None:
    if words.dtype == np.uint16 and out.dtype == np.float32:
        wide = out.view(np.uint32)  # a bfloat16 is the upper half of a float32
        np.copyto(wide, words)
        np.left_shift(wide, 16, out=wide)
    elif words.dtype == np.float16 and out.dtype == np.float32:
        torch.from_numpy(out).copy_(torch.from_numpy(words))
    else:
        np.copyto(out, words)
