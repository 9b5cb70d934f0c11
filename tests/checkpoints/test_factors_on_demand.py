"""Factors read one module at a time are those that are read all at once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from critical_phase.checkpoints import Checkpoint, factors_on_demand, low_rank_factors
from critical_phase.checkpoints.factors_on_demand import FactorsOnDemand
from critical_phase.errors import CheckpointError

CONFIG = (
    '{"peft_type": "LORA", "r": 2, "lora_alpha": 6, "use_rslora": true,'
    ' "rank_pattern": {"k_proj": 3}}'
)
MODULES = {"model.layers.0.q_proj": 2, "model.layers.0.k_proj": 3, "model.layers.1.q_proj": 2}


def series(folder: Path, dtype: torch.dtype = torch.float32) -> list[Checkpoint]:
    """Write three steps; the first stands for the base, whose B counts as zero."""
    found = []
    for step in (0, 1, 2):
        path, random = folder / f"checkpoint-{step}", torch.Generator().manual_seed(step)
        tensors = {
            f"base_model.model.{name}.lora_{side}.weight": torch.randn(shape, generator=random)
            for name, rank in MODULES.items()
            for side, shape in (("A", (rank, 5)), ("B", (4, rank)))
        }
        path.mkdir(parents=True)
        save_file({k: v.to(dtype) for k, v in tensors.items()}, path / "adapter_model.safetensors")
        (path / "adapter_config.json").write_text(CONFIG)
        found.append(Checkpoint(step, path, "", "adapter" if step else "base"))
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_module_of_every_step_is_the_same(tmp_path: Path, dtype: torch.dtype) -> None:
    saved = series(tmp_path, dtype)
    path = factors_on_demand(saved)
    for item, step in zip(saved, path, strict=True):
        whole = low_rank_factors(item)
        assert list(step) == list(whole) == sorted(MODULES)
        assert len(step) == 3
        assert "model.layers.2.q_proj" not in step
        for name, (a, b, scaling) in whole.items():
            assert (step[name][0].dtype, step[name][2]) == (np.float32, scaling)
            np.testing.assert_array_equal(step[name][0], a)
            np.testing.assert_array_equal(step[name][1], b)
    assert not path[0]["model.layers.0.q_proj"][1].any()
    assert path[1]["model.layers.0.k_proj"][2] == pytest.approx(6 / 3**0.5)


def test_one_module_is_kept_of_all_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    ours = FactorsOnDemand._read
    monkeypatch.setattr(
        FactorsOnDemand, "_read", lambda self, name: (read.append(name), ours(self, name))[1]
    )
    path = factors_on_demand(series(tmp_path))
    for name in sorted(MODULES):
        for _ in range(2):
            for step in path:
                assert step[name][2] > 0
    assert len(read) == 9
    assert path[0]["model.layers.0.k_proj"][2] > 0
    assert len(read) == 10
    assert list(path[0]._kept._found) == [0]


def test_a_module_that_is_not_adapted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        factors_on_demand(series(tmp_path))[0]["lm_head"]


def test_a_damaged_file_is_one_error(tmp_path: Path) -> None:
    saved = series(tmp_path)
    path = factors_on_demand(saved)
    assert len(path[1]) == 3
    for item in saved[1:]:
        (item.path / "adapter_model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match="cannot read the adapter"):
        path[1]["model.layers.0.q_proj"]
    with pytest.raises(CheckpointError, match="cannot read the adapter"):
        list(path[2])
