"""Files are whole or absent, exact, checked, and open in other tools."""

import errno
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from stored_files import ATTRIBUTES, residual, write

from critical_phase.errors import StoreError
from critical_phase.probes import read_activations, read_attrs, read_scores, validate
from critical_phase.probes.collector import Dataset
from critical_phase.probes.reserve import give_back
from critical_phase.probes.store import write_file


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_type_round_trips_without_loss(dtype: torch.dtype, tmp_path: Path) -> None:
    dataset, values = residual(dtype)
    path = write(tmp_path / "a.h5", (dataset, values))
    found = read_activations(path, "residual")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values.float().numpy())
    np.testing.assert_array_equal(read_activations(path, "residual", -1), found[0])
    np.testing.assert_array_equal(read_activations(path, "residual", 1), found[2])
    assert h5py.File(path, "r")["residual"].attrs["storage_dtype"] == str(dtype)[6:]


def test_all_bfloat16_patterns_are_read_by_h5py_itself(tmp_path: Path) -> None:
    words = torch.arange(65536, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    dataset = Dataset("residual", ("row",), torch.bfloat16, "test")
    write_file(
        tmp_path / "a.h5", "activations", [(dataset, words)], {"row": np.arange(65536)}, ATTRIBUTES
    )
    expected = words.float().numpy()
    with h5py.File(tmp_path / "a.h5", "r") as file:
        np.testing.assert_array_equal(file["residual"][:], expected)
    np.testing.assert_array_equal(read_activations(tmp_path / "a.h5", "residual"), expected)


def test_a_chunk_is_one_layer_of_at_most_one_mebibyte(tmp_path: Path) -> None:
    dataset = Dataset("residual", ("layer", "row", "position", "d_model"), torch.float32, "")
    values = torch.zeros(3, 1000, 2, 512)
    coordinates: dict[str, Any] = {
        name: np.arange(size) for name, size in zip(dataset.dims, values.shape, strict=True)
    }
    write_file(tmp_path / "a.h5", "activations", [(dataset, values)], coordinates, ATTRIBUTES)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        assert file["residual"].chunks == (1, 256, 2, 512)
        assert file["residual"].fletcher32
        assert file["residual"].compression is None


def test_a_truncated_file_is_one_error_with_a_remedy(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", residual())
    path.write_bytes(path.read_bytes()[:-200])
    for read in (validate, read_attrs, lambda p: read_activations(p, "residual")):
        with pytest.raises(StoreError, match=r"damaged(.|\n)*a\.h5(.|\n)*collect again"):
            read(path)


def test_a_flipped_bit_is_an_error_and_not_a_number(tmp_path: Path) -> None:
    dataset, values = residual()
    path = write(tmp_path / "a.h5", (dataset, values))
    content = bytearray(path.read_bytes())
    at = content.find(values[1, 0].numpy().tobytes())
    content[at + 5] ^= 4
    path.write_bytes(content)
    read_activations(path, "residual", -1)
    with pytest.raises(StoreError, match="damaged"):
        read_activations(path, "residual", 0)
    with pytest.raises(StoreError, match="damaged"):
        validate(path)


@pytest.mark.parametrize("content", [b"", b"not HDF5 at all"])
def test_a_file_of_something_else_is_an_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(StoreError, match="damaged or not HDF5"):
        read_scores(tmp_path / "a.h5")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such file"):
        read_attrs(tmp_path / "missing.h5")
    path = write(tmp_path / "a.h5", residual())
    with pytest.raises(StoreError, match=r"no dataset 'pattern'; stored: residual, rows/"):
        read_activations(path, "pattern")
    with pytest.raises(StoreError, match=r"no layer 7 in /residual; stored: \[-1, 0, 1\]"):
        read_activations(path, "residual", 7)
    with pytest.raises(StoreError, match=r"expected a file of the convention 'probe-scores/1.0'"):
        read_scores(path)


@pytest.mark.parametrize("where", ["fill", "sync", "flush"])
def test_a_full_disk_is_one_error_and_leaves_nothing(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        if where == "flush":
            raise RuntimeError("Can't decrement id ref count (No space left on device)")
        raise OSError(errno.ENOSPC, "No space left on device")

    target = "critical_phase.atomic.sync_file" if where == "sync" else None
    monkeypatch.setattr(target or "critical_phase.probes.store._fill", full)
    with pytest.raises(StoreError, match=r"the disk is full(.|\n)*what is finished is kept"):
        write(tmp_path / "a.h5", residual())
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_stays_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.h5", residual())
    before = path.read_bytes()

    def interrupt(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("critical_phase.atomic.sync_file", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write(path, residual(torch.float16))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    first, second = (write(tmp_path / name, residual()).read_bytes() for name in ("a.h5", "b.h5"))
    assert first == second


def test_a_breach_of_the_format_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", residual())
    assert validate(path).rows == 6
    with h5py.File(path, "a") as file:
        del file.attrs["plan_sha256"]
        file.attrs["norm_state"] = "post"
        file["residual"][0, 0, 0, 0] = np.nan
        file["loose"] = np.zeros(3)
    with pytest.raises(StoreError) as caught:
        validate(path)
    for text in (
        "no attribute plan_sha256",
        "not from before the final norm",
        "residual: 1 values are not finite, 0 stated",
        "loose: axis 0 has no scale",
        "loose: no checksum",
    ):
        assert text in str(caught.value)


def test_reserved_room_is_given_back_to_the_last_byte(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", residual())
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["a"] = np.zeros(10)
    for one in (path, tmp_path / "plain.h5"):
        whole = one.read_bytes()
        one.write_bytes(whole + b"\0" * 5000)
        give_back(one)
        assert one.read_bytes() == whole


def test_room_that_is_not_there_is_refused_before_hdf5_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    opened: list[Any] = []
    monkeypatch.setattr("os.posix_fallocate", refuse)
    monkeypatch.setattr(h5py, "File", lambda *args, **_: opened.append(args))
    with pytest.raises(StoreError, match="the disk is full"):
        write(tmp_path / "a.h5", residual())
    assert opened == []
    assert list(tmp_path.iterdir()) == []
