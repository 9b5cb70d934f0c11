"""Our files open in xarray with both engines and in h5dump, bfloat16 among them."""

import contextlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray
from stored_files import residual, write

from critical_phase.probes.collector import Dataset

ENGINES = ["h5netcdf", "netcdf4"]
TYPES = [torch.float32, torch.float16, torch.bfloat16]


PAIRS = [("h5netcdf", dtype) for dtype in TYPES] + [
    ("netcdf4", torch.float32),
    ("netcdf4", torch.bfloat16),  # float16 it takes for text, and crashes (docs/format.md)
]


@pytest.mark.parametrize(("engine", "dtype"), PAIRS)
def test_xarray_has_named_axes_and_equal_values(
    engine: Any, dtype: torch.dtype, tmp_path: Path
) -> None:
    dataset, values = residual(dtype)
    path = write(tmp_path / "a.h5", (dataset, values))
    with xarray.open_dataset(path, engine=engine) as opened:
        found = opened["residual"].load()
    assert found.dims == ("layer", "row", "position", "d_model")
    assert found["position"].values.tolist() == ["question_end", "answer_end"]
    chosen = found.sel(layer=-1, position="answer_end").values
    np.testing.assert_array_equal(chosen, values[0, :, 1].float().numpy())


@pytest.mark.parametrize("engine", ENGINES)
def test_groups_have_the_axes_of_the_root(engine: Any, tmp_path: Path) -> None:
    grouped = Dataset("summary/norm", ("layer", "row"), torch.float32, "test")
    path = write(tmp_path / "a.h5", residual(), (grouped, torch.ones(3, 6)))
    with xarray.open_dataset(path, engine=engine, group="summary") as opened:
        assert opened["norm"].dims == ("layer", "row")


@pytest.mark.parametrize("engine", ENGINES)
def test_checkpoints_become_one_array(engine: Any, tmp_path: Path) -> None:
    files = [write(tmp_path / f"{name}.h5", residual(torch.bfloat16)) for name in "ab"]
    with contextlib.ExitStack() as stack:
        sets = [stack.enter_context(xarray.open_dataset(f, engine=engine)) for f in files]
        joined = xarray.concat([one[["residual"]] for one in sets], dim="step")["residual"].load()
    assert joined.dims == ("step", "layer", "row", "position", "d_model")
    np.testing.assert_array_equal(joined[1], residual(torch.bfloat16)[1].float().numpy())


@pytest.mark.parametrize("dtype", TYPES)
def test_h5dump_prints_the_numbers(dtype: torch.dtype, tmp_path: Path) -> None:
    if (h5dump := shutil.which("h5dump")) is None:
        pytest.skip("h5dump is not installed (Debian: hdf5-tools)")
    dataset, values = residual(dtype)
    path = write(tmp_path / "a.h5", (dataset, values))
    command = [h5dump, "-y", "-w", "0", "-m", "%.9g", "-d", "/residual", str(path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    block = re.search(r"DATA \{(.*?)\n *\}", shown, re.DOTALL)
    assert block is not None
    found = np.array(re.findall(r"-?\d[\d.e+-]*", block[1]), np.float32)
    np.testing.assert_array_equal(found, values.float().numpy().ravel())
