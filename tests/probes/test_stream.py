"""Chunks read past HDF5 are what HDF5 reads, and damage is found as HDF5 finds it."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_files import ATTRIBUTES, flip_bit, layered, residual, write

from critical_phase.errors import StoreError
from critical_phase.probes import stream_layer
from critical_phase.probes.fletcher import Fletcher32
from critical_phase.probes.store import write_file

TYPES = [torch.float32, torch.float16, torch.bfloat16]
SIZES = [2, 7, 8, 8190, 8192, 8193, 3 * 8192 + 6]


def by_words(data: bytes) -> int:
    """HDF5's loop, word by word and without carries."""
    words = np.frombuffer(data + b"\0" * (len(data) % 2), ">u2").tolist()
    first = second = 0
    for word in words:
        first += word
        second += first
    return ((second - 1) % 65535 + 1) << 16 | ((first - 1) % 65535 + 1) if first else 0


@pytest.mark.parametrize("size", SIZES)
def test_checksums_are_those_of_the_slow_loop(size: int) -> None:
    rng = np.random.default_rng(size)
    last = (np.arange(size) == size - 1).astype(np.uint8)
    chunks = [rng.integers(0, 256, size, np.uint8), np.full(size, 255, np.uint8), last, 0 * last]
    sums = Fletcher32(len(chunks), size)
    for place, chunk in enumerate(chunks):
        sums.add(place, chunk)
    assert sums.checksums().tolist() == [by_words(chunk.tobytes()) for chunk in chunks]


@settings(deadline=None, max_examples=30)
@given(st.binary(min_size=1, max_size=64), st.integers(1, 400))
def test_any_bytes_have_the_checksum_of_the_slow_loop(part: bytes, times: int) -> None:
    data = part * times
    sums = Fletcher32(1, len(data))
    sums.add(0, np.frombuffer(data, np.uint8))
    assert sums.checksums().tolist() == [by_words(data)]


def test_checksums_are_those_that_hdf5_stored(tmp_path: Path) -> None:
    layered(tmp_path / "a.h5", torch.float32)
    with h5py.File(tmp_path / "a.h5") as file:
        found = file["residual"].id
        for number in range(found.get_num_chunks()):
            corner = found.get_chunk_info(number).chunk_offset
            raw = np.frombuffer(found.read_direct_chunk(corner)[1], np.uint8)
            sums = Fletcher32(1, raw.size - 4)
            sums.add(0, raw[:-4])
            assert sums.checksums()[0] == raw[-4:].view("<u4")[0]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("threads", [1, 3])
def test_a_layer_of_every_checkpoint_is_what_was_written(
    dtype: torch.dtype, threads: int, tmp_path: Path
) -> None:
    files = [tmp_path / f"step-{step}.h5" for step in (2, 5)]
    written = [layered(file, dtype, step) for file, step in zip(files, (2, 5), strict=True)]
    for layer in (-1, 1):
        found = list(stream_layer(files, "residual", layer, threads=threads))
        assert [(one.head, one.step) for one in found] == [("positive", 2), ("positive", 5)]
        for one, values in zip(found, written, strict=True):
            assert (one.way, one.checked, one.values.dtype) == ("raw", True, np.float32)
            np.testing.assert_array_equal(one.values, values[layer + 1].float().numpy())


def test_memory_is_used_again_only_on_request(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.h5", "b.h5")]
    values = [layered(file, torch.float32, step) for step, file in enumerate(files)]
    kept = [one.values for one in stream_layer(files, "residual", 0)]
    np.testing.assert_array_equal(kept[0], values[0][1].numpy())
    first, second = (one.values for one in stream_layer(files, "residual", 0, reuse=True))
    assert np.shares_memory(first, second)
    np.testing.assert_array_equal(second, values[1][1].numpy())


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_flipped_bit_is_an_error_in_its_own_layer_alone(
    dtype: torch.dtype, threads: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.h5"
    values = layered(path, dtype)
    flip_bit(path, "residual")  # the first chunk is of layer -1
    (good,) = stream_layer([path], "residual", 1, threads=threads)
    np.testing.assert_array_equal(good.values, values[2].float().numpy())
    with pytest.raises(StoreError, match=r"damaged(.|\n)*a\.h5"):
        list(stream_layer([path], "residual", -1, threads=threads))


def test_leaving_out_the_checksums_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    values = layered(path, torch.float32)
    flip_bit(path, "residual")
    (found,) = stream_layer([path], "residual", -1, verify=False)
    assert not found.checked
    assert np.count_nonzero(found.values != values[0].numpy()) == 1


@pytest.mark.parametrize("how", ["gzip", "contiguous", "two layers", "columns", "big-endian"])
def test_other_layouts_go_through_hdf5(how: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", residual())
    options: dict[str, object] = {
        "gzip": {"compression": "gzip", "chunks": (1, 6, 2, 8), "fletcher32": True},
        "contiguous": {},
        "two layers": {"chunks": (2, 6, 2, 8), "fletcher32": True},
        "columns": {"chunks": (1, 6, 2, 4), "fletcher32": True},
        "big-endian": {"dtype": ">f4", "chunks": (1, 6, 2, 8), "fletcher32": True},
    }[how]
    with h5py.File(path, "a") as file:
        values = file["residual"][()]
        made = file.create_dataset("other", data=values, **options)
        made.dims[0].label = "layer"
    (found,) = stream_layer([path], "other", 0, verify=how != "contiguous")
    assert (found.way, found.checked) == ("hdf5", how != "contiguous")
    np.testing.assert_array_equal(found.values, values[1])


def test_what_cannot_be_checked_or_does_not_belong_is_refused(tmp_path: Path) -> None:
    path, other = write(tmp_path / "a.h5", residual()), tmp_path / "b.h5"
    with h5py.File(path, "a") as file:
        file["bare"] = np.zeros((3, 2))
        file["bare"].dims[0].label = "layer"
    with pytest.raises(StoreError, match="bare has no checksums to compare with"):
        list(stream_layer([path], "bare", 0))
    write_file(other, "activations", [], {}, ATTRIBUTES | {"plan_sha256": "another"})
    with pytest.raises(StoreError, match=r"belongs to another plan(.|\n)*b\.h5"):
        list(stream_layer([path, other], "residual", 0))
    with pytest.raises(StoreError, match=r"no layer 7 in /residual; stored: \[-1, 0, 1\]"):
        list(stream_layer([path], "residual", 7))
