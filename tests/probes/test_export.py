"""Plain copies hold the stored numbers, axes and provenance, and are never overwritten."""

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors import safe_open
from stored_files import ATTRIBUTES, flip_bit, layered, residual, write

from critical_phase.errors import ConfigError, StoreError
from critical_phase.probes import FORMATS, export_file, read_activations, read_attrs, validate
from critical_phase.probes.collector import Dataset
from critical_phase.probes.store import write_file

Read = tuple[dict[str, np.ndarray], dict[str, Any]]
TYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.fixture(params=list(FORMATS))
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def read(path: Path) -> Read:
    """Read arrays and provenance of an export with what others would use."""
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            arrays = {name: file[name][()] for name in ("residual", "rows/correct", "layer")}
            return arrays, {**file.attrs}
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as stored:
            told = json.loads(str(stored["provenance_json"]))
            return {n.removeprefix("axis/"): stored[n] for n in stored}, told["attributes"]
    with safe_open(path, "numpy") as file:
        told = json.loads(file.metadata()["provenance_json"])
        arrays = {name.removeprefix("axis/"): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return arrays, told["attributes"]


@pytest.mark.parametrize("dtype", TYPES)
def test_values_axes_and_provenance_are_those_stored(
    dtype: torch.dtype, form: str, tmp_path: Path
) -> None:
    dataset, values = residual(dtype)
    source = write(tmp_path / "a.h5", (dataset, values))
    made = export_file(source, tmp_path / "out" / "a", form)
    arrays, attributes = read(made.target)
    assert arrays["residual"].dtype == np.float32
    np.testing.assert_array_equal(arrays["residual"], values.float().numpy())
    np.testing.assert_array_equal(arrays["layer"], [-1, 0, 1])
    np.testing.assert_array_equal(arrays["rows/correct"], np.arange(6))
    stored = {k: v for k, v in read_attrs(source).items() if attributes[k] != v}
    assert stored == {}
    assert attributes["export_dtype"] == "float32"


def test_every_bfloat16_keeps_its_value(form: str, tmp_path: Path) -> None:
    words = torch.arange(65536, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    dataset = Dataset("residual", ("row",), torch.bfloat16, "test")
    rows = {"row": np.arange(65536)}
    write_file(tmp_path / "a.h5", "activations", [(dataset, words)], rows, ATTRIBUTES)
    target = export_file(tmp_path / "a.h5", tmp_path / "b", form).target
    if form == "hdf5":
        found = read_activations(target, "residual")
    else:
        found = (np.load if form == "npz" else _tensors)(target)["residual"]
    np.testing.assert_array_equal(found.view(np.uint32), words.float().numpy().view(np.uint32))


def test_layers_of_many_chunks_are_put_together(form: str, tmp_path: Path) -> None:
    values = layered(tmp_path / "a.h5", torch.bfloat16)
    made = export_file(tmp_path / "a.h5", tmp_path / "b", form, datasets=["residual"])
    if form == "hdf5":
        np.testing.assert_array_equal(read_activations(made.target, "residual"), values.float())
        with h5py.File(made.target) as file:
            assert file["residual"].chunks == (1, 128, 2, 1024)
        return
    open_it = np.load if form == "npz" else _tensors
    np.testing.assert_array_equal(open_it(made.target)["residual"], values.float().numpy())


def _tensors(path: Path) -> dict[str, np.ndarray]:
    with safe_open(path, "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def test_an_exported_hdf5_file_keeps_to_the_format(tmp_path: Path) -> None:
    grouped = Dataset("summary/norm", ("layer", "row"), torch.float32, "test")
    source = write(tmp_path / "a.h5", residual(torch.bfloat16), (grouped, torch.ones(3, 6)))
    made = export_file(source, tmp_path / "b", "hdf5")
    assert validate(made.target).datasets == validate(source).datasets
    with h5py.File(made.target) as file:
        described = dict(file["residual"].attrs)
        assert (described["storage_dtype"], described["source_dtype"]) == ("float32", "bfloat16")
        assert described["about"] == "test"


def test_repeating_changes_nothing_and_other_content_is_not_overwritten(
    form: str, tmp_path: Path
) -> None:
    source = write(tmp_path / "a.h5", residual())
    first = export_file(source, tmp_path / "out", form)
    before = first.target.stat().st_mtime_ns
    assert export_file(source, tmp_path / "out", form).status == "existing"
    assert first.target.stat().st_mtime_ns == before
    with pytest.raises(StoreError, match="in the way; it differs in export_datasets"):
        export_file(source, tmp_path / "out", form, datasets=["rows"])
    shutil.copy(tmp_path / "a.h5", tmp_path / "b.h5")
    write(source, residual(torch.float16))
    with pytest.raises(StoreError, match="in the way; it differs in export_of_sha256"):
        export_file(source, tmp_path / "out", form)
    assert export_file(source, tmp_path / "out", form, overwrite=True).status == "done"


def test_a_file_of_something_else_is_not_overwritten(form: str, tmp_path: Path) -> None:
    source = write(tmp_path / "a.h5", residual())
    other = tmp_path / f"out{FORMATS[form].suffix}"
    other.write_text("mine")
    with pytest.raises(StoreError, match=f"in the way; it is no {form} export"):
        export_file(source, tmp_path / "out", form)
    assert other.read_text() == "mine"


def test_a_damaged_source_leaves_no_copy(form: str, tmp_path: Path) -> None:
    source = write(tmp_path / "in" / "a.h5", residual())
    flip_bit(source, "residual", chunk=2)
    with pytest.raises(StoreError, match=r"damaged(.|\n)*a\.h5"):
        export_file(source, tmp_path / "out" / "a", form)
    assert list((tmp_path / "out").iterdir()) == []


def test_equal_content_gives_equal_bytes(form: str, tmp_path: Path) -> None:
    source = write(tmp_path / "a.h5", residual(torch.bfloat16))
    made = [export_file(source, tmp_path / name, form).target for name in ("one", "two")]
    assert made[0].read_bytes() == made[1].read_bytes()


def test_chosen_datasets_keep_the_rows_and_their_own_count(tmp_path: Path) -> None:
    dataset, values = residual()
    values[1, 2, 0, 3] = torch.nan
    grouped = Dataset("summary/norm", ("layer", "row"), torch.float32, "test")
    source = write(tmp_path / "a.h5", (dataset, values), (grouped, torch.ones(3, 6)))
    made = export_file(source, tmp_path / "b", "hdf5", datasets=["summary"])
    found = validate(made.target)
    assert found.datasets == ("rows/candidate", "rows/correct", "rows/question", "summary/norm")
    assert found.non_finite == 0
    assert validate(export_file(source, tmp_path / "c", "hdf5").target).non_finite == 1
    assert export_file(source, tmp_path / "d", "hdf5", datasets=["pattern"]).status == "nothing"


def test_unknown_formats_and_types_are_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.h5", residual())
    for form, dtype in (("csv", "float32"), ("npz", "float16")):
        with pytest.raises(ConfigError, match=r"cannot export(.|\n)*formats: hdf5, npz"):
            export_file(source, tmp_path / "b", form, dtype=dtype)
