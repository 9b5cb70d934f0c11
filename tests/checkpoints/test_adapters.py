import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from critical_phase.checkpoints import (
    AdapterSlot,
    Checkpoint,
    adapter_config,
    list_series,
    load_model,
    low_rank_factors,
    model_sha256,
)
from critical_phase.checkpoints.peft_state import quiet_peft
from critical_phase.errors import CheckpointError

IDS = torch.tensor([[0, 2, 3, 4, 5]])


def make_series(model_folder: Path, out: Path, **settings: object) -> None:
    """Write three random adapters, as PEFT itself writes them."""
    for step in (1, 2, 10):
        model, _ = load_model(str(model_folder))
        config = LoraConfig(r=4, lora_alpha=8, target_modules=["down_proj", "q_proj"], **settings)
        with quiet_peft():
            adapter = get_peft_model(model, config)
        generator = torch.Generator().manual_seed(step)
        for name, parameter in adapter.named_parameters():
            if "lora_" in name:
                parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator).abs()
        adapter.save_pretrained(out / f"checkpoint-{step}", save_embedding_layers=False)


@pytest.fixture(scope="module")
def series_folder(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("series")
    make_series(tiny_model_folder, out)
    return out


def fresh_logits(model_folder: Path, checkpoint: Checkpoint) -> torch.Tensor:
    model, _ = load_model(str(model_folder))
    with quiet_peft(), torch.no_grad():
        return PeftModel.from_pretrained(model, str(checkpoint.path)).eval()(IDS).logits


@pytest.mark.parametrize("settings", [{}, {"use_dora": True}])
def test_an_inner_block_does_not_put_the_adapter_back(
    tiny_model_folder: Path, tmp_path: Path, settings: dict[str, bool]
) -> None:
    make_series(tiny_model_folder, tmp_path, **settings)
    model, _ = load_model(str(tiny_model_folder))
    base = model(IDS).logits.detach()
    slot = AdapterSlot.attach(model, list_series(tmp_path).checkpoints[0])
    with torch.no_grad(), slot.base():
        with slot.base():
            pass
        assert torch.equal(slot.model(IDS).logits, base)
    with torch.no_grad():
        assert not torch.equal(slot.model(IDS).logits, base)


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}, {"use_dora": True}])
def test_swapping_in_place_equals_a_fresh_load_in_any_order(
    tiny_model_folder: Path, tmp_path: Path, settings: dict[str, bool]
) -> None:
    make_series(tiny_model_folder, tmp_path, **settings)
    series = list_series(tmp_path)
    model, _ = load_model(str(tiny_model_folder))
    base = model(IDS).logits.detach()
    slot = AdapterSlot.attach(model, series.checkpoints[0])
    assert slot.merged == (not settings.get("use_dora", False))
    for step in (10, 1, 2, 10):
        slot.load(series.at(step))
        with torch.no_grad():
            here = slot.model(IDS).logits
        # fp32, sums of 16 and 32 terms of size one: a few eps of 1e-7 times the logits
        assert torch.allclose(here, fresh_logits(tiny_model_folder, series.at(step)), atol=1e-5)
    with slot.base(), torch.no_grad():
        assert torch.equal(slot.model(IDS).logits, base)


def test_merging_never_drifts(tiny_model_folder: Path, series_folder: Path) -> None:
    series = list_series(series_folder)
    slot = AdapterSlot.attach(load_model(str(tiny_model_folder))[0], series.checkpoints[0])
    with torch.no_grad():
        first = slot.model(IDS).logits
        for _ in range(5):
            for item in reversed(series.checkpoints):
                slot.load(item)
        assert torch.equal(slot.model(IDS).logits, first)


def test_steps_are_sorted_as_numbers_and_partial_folders_are_said(
    series_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(series_folder, tmp_path / "s")
    (tmp_path / "s" / "checkpoint-3").mkdir()
    damaged = tmp_path / "s" / "checkpoint-2" / "adapter_model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:100])
    series = list_series(tmp_path / "s")
    assert series.steps == (1, 10)
    assert series.warnings == (
        "skipped checkpoint-2: no complete adapter or model in it",
        "skipped checkpoint-3: no complete adapter or model in it",
    )


def test_a_series_that_never_moved_is_flagged(series_folder: Path, tmp_path: Path) -> None:
    for step in (4, 5):
        shutil.copytree(series_folder / "checkpoint-1", tmp_path / f"checkpoint-{step}")
    assert list_series(tmp_path).warnings == ("steps 4, 5 hold the same adapter",)


def test_named_adapters_are_found_one_level_down(series_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(series_folder / "checkpoint-1", tmp_path / "checkpoint-7" / "policy")
    assert list_series(tmp_path).at(7).path.name == "policy"


def test_a_changed_alpha_is_refused_though_the_tensors_fit(
    tiny_model_folder: Path, series_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(series_folder, tmp_path / "s")
    path = tmp_path / "s" / "checkpoint-2" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "lora_alpha": 16}))
    series = list_series(tmp_path / "s")
    slot = AdapterSlot.attach(load_model(str(tiny_model_folder))[0], series.at(1))
    with pytest.raises(CheckpointError, match="lora_alpha is 16, but this series has 8"):
        slot.load(series.at(2))


def test_a_missing_tensor_is_refused(
    tiny_model_folder: Path, series_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(series_folder, tmp_path / "s")
    path = tmp_path / "s" / "checkpoint-2" / "adapter_model.safetensors"
    tensors = load_file(path)
    name = sorted(tensors)[0]
    del tensors[name]
    save_file(tensors, path)
    series = list_series(tmp_path / "s")
    slot = AdapterSlot.attach(load_model(str(tiny_model_folder))[0], series.at(1))
    with pytest.raises(CheckpointError, match="1 tensors are in only one of file and model"):
        slot.load(series.at(2))


def test_a_file_that_changed_since_it_was_listed_does_not_land(
    tiny_model_folder: Path, series_folder: Path
) -> None:
    series = list_series(series_folder)
    slot = AdapterSlot.attach(load_model(str(tiny_model_folder))[0], series.at(1))
    with pytest.raises(CheckpointError, match="did not land"):
        slot.load(Checkpoint(2, series.at(2).path, series.at(1).sha256))


def test_an_adapter_of_another_base_is_refused(
    tiny_model_folder: Path, series_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(series_folder, tmp_path / "s")
    note = {"base_sha256": "0" * 64, "base_model": "elsewhere/model"}
    (tmp_path / "s" / "checkpoint-1" / "critical_phase.json").write_text(json.dumps(note))
    model, _ = load_model(str(tiny_model_folder))
    first = list_series(tmp_path / "s").at(1)
    sha = model_sha256(model)
    with pytest.raises(CheckpointError, match="belongs to another base model") as caught:
        AdapterSlot.attach(model, first, base_sha256=sha)
    assert "elsewhere/model" in caught.value.fix


def test_an_adapter_of_another_shape_does_not_fit(
    tiny_model_folder: Path, series_folder: Path, tmp_path: Path
) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2
    )
    with pytest.raises(CheckpointError, match="does not fit this base model"):
        AdapterSlot.attach(LlamaForCausalLM(config), list_series(series_folder).at(1))


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}])
def test_factors_and_scaling_rebuild_the_update_that_peft_applies(
    tiny_model_folder: Path, tmp_path: Path, settings: dict[str, bool]
) -> None:
    make_series(tiny_model_folder, tmp_path, **settings)
    item = list_series(tmp_path).at(10)
    model, _ = load_model(str(tiny_model_folder))
    with quiet_peft():
        peft = PeftModel.from_pretrained(model, str(item.path))
    for name, (a, b, scaling) in low_rank_factors(item).items():
        layer = peft.get_base_model().get_submodule(name)
        expected = layer.get_delta_weight("default").detach().numpy()
        assert scaling * b @ a == pytest.approx(expected, abs=1e-5)


def test_a_missing_model_is_one_error() -> None:
    with pytest.raises(CheckpointError, match="cannot load the model '/no/such/model'"):
        load_model("/no/such/model")


def test_config_is_read_as_plain_values(series_folder: Path) -> None:
    assert adapter_config(list_series(series_folder).at(1).path)["r"] == 4
