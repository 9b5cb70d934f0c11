"""Whole weights exchanged in place equal a fresh load, and what does not fit is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import WORDS, tiny_gpt2, tiny_llama
from tiny_series import write_full_series
from transformers import AutoModelForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig

from critical_phase.checkpoints import Checkpoint, FullSlot, list_series
from critical_phase.errors import CheckpointError

IDS = torch.tensor([[0, 2, 3, 4, 5]])


def tiny_neox() -> GPTNeoXForCausalLM:
    """Its files name the unembedding otherwise than the model does."""
    config = GPTNeoXConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return GPTNeoXForCausalLM(config).eval()


@pytest.fixture(scope="module")
def series_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_full_series(tmp_path_factory.mktemp("full"), (0, 1, 2, 10))


def fresh(checkpoint: Checkpoint) -> torch.Tensor:
    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(checkpoint.path).eval()(IDS).logits


@pytest.mark.parametrize("build", [tiny_llama, tiny_gpt2, tiny_neox])
def test_swapping_in_place_equals_a_fresh_load_in_any_order(build: Any, tmp_path: Path) -> None:
    """GPT-2 ties its unembedding, GPT-NeoX renames it."""
    series = list_series(write_full_series(tmp_path, (1, 2), build=build))
    model = build()
    with torch.no_grad():
        base = model(IDS).logits
        slot = FullSlot.attach(model, series.at(1))
        for step in (2, 1, 2):
            assert slot.load(series.at(step)) == series.at(step).sha256
            assert torch.equal(slot.model(IDS).logits, fresh(series.at(step)))
        with slot.base():
            assert torch.equal(slot.model(IDS).logits, base)
        assert torch.equal(slot.model(IDS).logits, fresh(series.at(2)))


def test_sharded_weights_have_the_hash_of_whole_ones(series_folder: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(series_folder / "checkpoint-2")
    model.save_pretrained(tmp_path / "checkpoint-2", max_shard_size="4KB")
    assert len(list((tmp_path / "checkpoint-2").glob("*.safetensors"))) > 1
    whole, sharded = list_series(series_folder).at(2), list_series(tmp_path).at(2)
    assert sharded.sha256 == whole.sha256
    slot = FullSlot.attach(tiny_llama(), sharded)
    assert torch.equal(slot.model(IDS).logits, fresh(whole))


def test_half_precision_files_are_widened_exactly(series_folder: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(series_folder / "checkpoint-2").half()
    model.save_pretrained(tmp_path / "checkpoint-2")
    item = list_series(tmp_path).at(2)
    slot = FullSlot.attach(tiny_llama(), item)
    assert torch.equal(slot.model.lm_head.weight, model.lm_head.weight.float())


def test_single_precision_files_are_not_rounded_into_a_bfloat16_model(series_folder: Path) -> None:
    item = list_series(series_folder).at(2)
    with pytest.raises(CheckpointError, match="would be rounded away"):
        FullSlot.attach(tiny_llama().to(torch.bfloat16), item)


def test_the_base_is_known_among_the_checkpoints(series_folder: Path) -> None:
    series = list_series(series_folder)
    slot = FullSlot.attach(tiny_llama(), series.at(10))
    assert [slot.is_base(item) for item in series.checkpoints] == [True, False, False, False]


def test_a_missing_or_foreign_tensor_is_refused(series_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(series_folder / "checkpoint-2", tmp_path / "checkpoint-2")
    path = tmp_path / "checkpoint-2/model.safetensors"
    tensors = load_file(path)
    moved = tensors.pop("model.norm.weight")
    save_file({**tensors, "model.other.weight": moved}, path)
    with pytest.raises(CheckpointError, match="2 tensors are in only one of file and model"):
        FullSlot.attach(tiny_llama(), list_series(tmp_path).at(2))


def test_masks_that_old_versions_stored_are_left_out(tmp_path: Path) -> None:
    write_full_series(tmp_path, (2,), build=tiny_neox)
    path = tmp_path / "checkpoint-2/model.safetensors"
    mask = {"gpt_neox.layers.0.attention.masked_bias": torch.tensor(-1e9)}
    save_file({**load_file(path), **mask}, path, metadata={"format": "pt"})
    item = list_series(tmp_path).at(2)
    slot = FullSlot.attach(tiny_neox(), item)
    assert slot.load(item) == item.sha256


def test_another_size_or_config_is_refused(series_folder: Path, tmp_path: Path) -> None:
    item = list_series(series_folder).at(2)
    config = LlamaConfig.from_pretrained(item.path)
    config.hidden_size, config.head_dim = 32, 16
    with pytest.raises(CheckpointError, match="head_dim is 8, but the base has 16"):
        FullSlot.attach(type(tiny_llama())(config), item)
    shutil.copytree(item.path, tmp_path / "checkpoint-2")
    path = tmp_path / "checkpoint-2/config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rms_norm_eps": 0.1}))
    with pytest.raises(CheckpointError, match=r"rms_norm_eps is 0\.1, but the base has 1e-06"):
        FullSlot.attach(tiny_llama(), list_series(tmp_path).at(2))


def test_weights_that_changed_since_they_were_listed_do_not_land(series_folder: Path) -> None:
    series = list_series(series_folder)
    slot = FullSlot.attach(tiny_llama(), series.at(1))
    with pytest.raises(CheckpointError, match="did not land"):
        slot.load(Checkpoint(2, series.at(2).path, series.at(1).sha256, "full"))
