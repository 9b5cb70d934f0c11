"""Single weights of the base model, read from where a run says it is."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from critical_phase.checkpoints import load_model
from critical_phase.cli.base_weights import BaseWeights, base_folder


def folder_of(path: Path, tensors: dict[str, torch.Tensor], model_type: str = "llama") -> str:
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
    save_file(tensors, path / "model.safetensors")
    return str(path)


def test_a_weight_of_the_organism_is_that_of_the_loaded_model() -> None:
    name = "model.layers.2.mlp.down_proj"
    model, _ = load_model("organism")
    expected = model.get_submodule(name).weight.detach().numpy()
    found = BaseWeights("organism").read(name)
    assert found is not None
    np.testing.assert_array_equal(found, expected)


def test_bfloat16_becomes_float32_without_loss(tmp_path: Path) -> None:
    stored = torch.randn(3, 5).to(torch.bfloat16)
    model = folder_of(tmp_path / "m", {"model.layers.0.q.weight": stored})
    found = BaseWeights(model).read("model.layers.0.q")
    assert found is not None
    np.testing.assert_array_equal(found, stored.float().numpy())


def test_weights_that_are_stored_inputs_first_are_turned(tmp_path: Path) -> None:
    stored = torch.randn(4, 4)  # square: the shape alone would not tell
    model = folder_of(tmp_path / "m", {"h.0.attn.c_proj.weight": stored}, "gpt2")
    found = BaseWeights(model).read("transformer.h.0.attn.c_proj")
    assert found is not None
    np.testing.assert_array_equal(found, stored.T.numpy())


def test_a_name_that_could_be_two_weights_is_none(tmp_path: Path) -> None:
    tensors = {f"{tower}.layers.0.q.weight": torch.randn(2, 2) for tower in ("text", "vision")}
    assert BaseWeights(folder_of(tmp_path / "m", tensors)).read("layers.0.q") is None


def test_quantised_and_flat_weights_are_none(tmp_path: Path) -> None:
    tensors = {"a.weight": torch.ones(2, 2, dtype=torch.int8), "b.weight": torch.ones(3)}
    weights = BaseWeights(folder_of(tmp_path / "m", tensors))
    assert weights.read("a") is None
    assert weights.read("b") is None
    assert weights.read("c") is None


def test_a_damaged_file_is_no_model(tmp_path: Path) -> None:
    model = folder_of(tmp_path / "m", {"a.weight": torch.ones(2, 2)})
    (tmp_path / "m" / "model.safetensors").write_bytes(b"cut short")
    assert BaseWeights(model).read("a") is None


@pytest.mark.parametrize("model", ["", "nobody/never-saved", "nobody/never-saved@main", "/no/such"])
def test_a_model_that_is_not_on_this_disk_is_not_fetched(model: str) -> None:
    assert base_folder(model) is None
    assert BaseWeights(model).read("model.layers.0.mlp.up_proj") is None
