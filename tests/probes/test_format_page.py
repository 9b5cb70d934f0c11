"""The Python examples of docs/format.md run as they are written."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stored_files import ATTRIBUTES

import critical_phase
from critical_phase.probes import export_file
from critical_phase.probes.collector import Dataset
from critical_phase.probes.store import write_file

PAGE = Path(critical_phase.__file__).resolve().parents[2] / "docs" / "format.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Activations of two checkpoints, and exports of one."""
    run = tmp_path_factory.mktemp("run")
    coordinates: dict[str, Any] = {
        "layer": np.arange(-1, 2, dtype=np.int32),
        "block": np.arange(2, dtype=np.int32),
        "row": np.arange(6, dtype=np.int32),
        "position": ("question_end", "answer_end"),
        "d_model": np.arange(8, dtype=np.int32),
        "attention_head": np.arange(2, dtype=np.int32),
        "metric": ("hoyer", "gini"),
    }
    dims = {
        "residual": ("layer", "row", "position", "d_model"),
        "attention_summary/sink_mass": ("block", "row", "attention_head"),
        "sparsity": ("block", "row", "metric"),
    }
    for step in (32, 64):
        arrays = []
        for name, axes in dims.items():
            values = torch.full([len(coordinates[axis]) for axis in axes], float(step))
            dtype = torch.bfloat16 if name == "residual" else torch.float32
            arrays.append((Dataset(name, axes, dtype, "test"), values.to(dtype)))
        path = run / f"activations/negative/step-{step:08d}.h5"
        write_file(path, "activations", arrays, coordinates, ATTRIBUTES | {"step": step})
    for form in ("npz", "safetensors"):
        export_file(path, run.parent / "export/activations/negative" / path.stem, form)
    return run


@pytest.mark.parametrize("block", BLOCKS, ids=[block.split("\n")[0] for block in BLOCKS])
def test_an_example_runs_and_reads_what_is_stored(
    block: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run)
    found: dict[str, Any] = {}
    exec(block, found)
    for name in ("last", "embedding", "residual", "layer"):
        if name in found:
            assert np.all(np.asarray(found[name]) == 64)
    if "joined" in found:
        assert found["joined"]["step"].values.tolist() == [32, 64]
        assert found["joined"]["residual"].dims[0] == "step"
    if "means" in found:
        assert {step: float(mean[0]) for step, mean in found["means"].items()} == {32: 32, 64: 64}
    for opened in [*found.get("parts", ()), found.get("data"), found.get("heads")]:
        if opened is not None:
            opened.close()


def test_the_page_has_examples_for_all_readers() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in ("# h5py", "# xarray", "# torch", "# R (", "# an export as npz"):
        assert name in text
    assert len(BLOCKS) == 7
