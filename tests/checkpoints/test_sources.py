"""Series of every kind are found, and what is odd about them is said."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from tiny_series import HUB_ID, fill_hub_cache, write_full_series

from critical_phase.checkpoints import (
    CheckpointSource,
    load_model,
    low_rank_factors,
    open_source,
    quiet_peft,
    read_series,
)
from critical_phase.checkpoints.fits import check_fit
from critical_phase.checkpoints.hub_revisions import HubRevisions
from critical_phase.errors import CheckpointError, ConfigError


@pytest.fixture(scope="module")
def adapters(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Steps 1, 2 and 10 as PEFT writes them; step 0 is not saved."""
    out = tmp_path_factory.mktemp("adapters")
    for step in (1, 2, 10):
        model, _ = load_model(str(tiny_model_folder))
        with quiet_peft():
            made = get_peft_model(model, LoraConfig(r=2, target_modules=["down_proj", "q_proj"]))
        generator = torch.Generator().manual_seed(step)
        for name, parameter in made.named_parameters():
            if "lora_" in name:
                parameter.data = torch.randn(parameter.shape, generator=generator)
        made.save_pretrained(out / f"checkpoint-{step}", save_embedding_layers=False)
    return out


@pytest.fixture
def copied(adapters: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(adapters, tmp_path / "s"))


def change_config(folder: Path, **values: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("name", ["checkpoint-{:06d}", "step-{}", "step_{}", "global_step{}"])
def test_other_names_of_folders_are_read(copied: Path, name: str) -> None:
    for step in (1, 2, 10):
        (copied / f"checkpoint-{step}").rename(copied / name.format(step))
    assert open_source(str(copied)).steps == (0, 1, 2, 10)


def test_the_base_stands_for_step_0_where_the_start_is_neutral(adapters: Path) -> None:
    source = open_source(str(adapters))
    assert isinstance(source, CheckpointSource)
    first = source.checkpoint(0)
    assert (first.kind, first.sha256) == ("base", "")
    assert "the base model stands for it" in source.warnings[0]
    factors = low_rank_factors(first)
    assert sorted(factors) == sorted(low_rank_factors(source.checkpoint(1)))
    assert not any(b.any() for _, b, _ in factors.values())


@pytest.mark.parametrize(
    ("start", "steps"), [("gaussian", 4), ("mica", 4), (None, 4), (False, 3), ("orthogonal", 3)]
)
def test_step_0_is_made_only_of_starts_known_to_be_neutral(
    copied: Path, start: object, steps: int
) -> None:
    for step in (1, 2, 10):
        change_config(copied / f"checkpoint-{step}", init_lora_weights=start)
    source = open_source(str(copied))
    assert len(source.steps) == steps
    assert ("step 0 is missing" in source.warnings[0]) == (steps == 3)


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_16", "olora"])
def test_starts_that_change_the_base_are_refused(copied: Path, start: str) -> None:
    change_config(copied / "checkpoint-1", init_lora_weights=start)
    with pytest.raises(CheckpointError, match="changes the base weights when training starts"):
        open_source(str(copied))


def test_pickle_files_are_named_and_never_read(copied: Path) -> None:
    (copied / "checkpoint-2/adapter_model.safetensors").unlink()
    (copied / "checkpoint-2/adapter_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    source = open_source(str(copied))
    assert source.steps == (0, 1, 10)
    assert "checkpoint-2: its weights are in a pickle file (adapter_model.bin)" in str(
        source.warnings
    )


def test_several_named_adapters_ask_for_a_choice(copied: Path) -> None:
    for step in (1, 2, 10):
        folder = copied / f"checkpoint-{step}"
        shutil.copytree(folder, copied / "x")
        (copied / "x").rename(folder / "policy")
    with pytest.raises(ConfigError, match="several adapters: default, policy"):
        open_source(str(copied))
    chosen = open_source(str(copied), adapter_name="policy")
    assert chosen.checkpoint(2).path.name == "policy"
    with pytest.raises(ConfigError, match="no adapter is named 'critic'"):
        open_source(str(copied), adapter_name="critic")


def test_the_frozen_reference_of_preference_training_is_left_out(copied: Path) -> None:
    for step in (1, 2, 10):
        shutil.copytree(copied / "checkpoint-1", copied / "x", ignore=lambda *_: ["ref"])
        (copied / "x").rename(copied / f"checkpoint-{step}" / "ref")
    source = open_source(str(copied))
    assert source.checkpoint(2).path.name == "checkpoint-2"
    assert source.warnings[0].startswith("adapter 'ref' is left out as the frozen reference")
    assert open_source(str(copied), adapter_name="ref").checkpoint(2).path.name == "ref"


def test_adapters_and_full_weights_in_one_folder_are_refused(copied: Path) -> None:
    write_full_series(copied, (20,))
    with pytest.raises(CheckpointError, match=r"adapters \(steps 1, 2, 10\) and full weights"):
        open_source(str(copied))


def test_a_setting_that_changes_along_the_series_is_said(copied: Path) -> None:
    change_config(copied / "checkpoint-10", lora_alpha=64)
    changed = next(w for w in open_source(str(copied)).warnings if "lora_alpha" in w)
    assert changed.startswith("step 10: lora_alpha is 64, but step 1 has 8")


def test_equal_weights_are_named(tmp_path: Path) -> None:
    write_full_series(tmp_path, (1,))
    shutil.copytree(tmp_path / "checkpoint-1", tmp_path / "checkpoint-4")
    found = read_series(open_source(str(tmp_path)))
    assert found.warnings[-1] == "steps 1, 4 hold the same weights"
    assert "step 0 was not saved: the series starts at step 1" in found.warnings


def test_one_checkpoint_instead_of_the_folder_above_is_explained(adapters: Path) -> None:
    with pytest.raises(CheckpointError, match="no complete checkpoint") as caught:
        open_source(str(adapters / "checkpoint-2"))
    assert "give the folder above it" in caught.value.fix


def test_an_unfinished_shard_makes_a_checkpoint_partial(tmp_path: Path) -> None:
    write_full_series(tmp_path, (1, 2))
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (tmp_path / "checkpoint-2/model.safetensors.index.json").write_text(json.dumps(index))
    source = open_source(str(tmp_path))
    assert source.steps == (1,)
    assert "skipped checkpoint-2: no complete" in source.warnings[0]


def test_a_checkpoint_of_another_base_is_seen_before_it_is_loaded(
    adapters: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    item = open_source(str(adapters)).checkpoint(2)
    check_fit(str(tiny_model_folder), item)
    config = json.loads((tiny_model_folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "intermediate_size": 48}))
    with pytest.raises(CheckpointError, match=r"of size \(16, 32\), but .* has size \(16, 48\)"):
        check_fit(str(tmp_path), item)
    full = open_source(str(write_full_series(tmp_path / "full", (1,)))).checkpoint(1)
    with pytest.raises(CheckpointError, match="belong to another base model"):
        check_fit(str(tmp_path), full)


def test_revisions_of_a_model_are_a_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_full_series(tmp_path / "s", (0, 4, 16))
    fill_hub_cache(tmp_path / "cache", folder, monkeypatch)
    (tmp_path / "cache/models--maker--tiny/refs/main").write_text("f" * 40)
    (tmp_path / "cache/models--maker--tiny/refs/step64").write_text("e" * 40)
    source = open_source(f"{HUB_ID}@step*")
    assert isinstance(source, HubRevisions)
    assert source.steps == (0, 4, 16)
    assert source.base_model == f"{HUB_ID}@step0"
    assert "working offline: only the 3 revisions in the local cache" in source.warnings[0]
    assert "skipped step64: not complete in the local cache" in source.warnings
    assert source.checkpoint(4).sha256 == open_source(str(folder)).checkpoint(4).sha256
    model, tokenizer = load_model(f"{HUB_ID}@step4")
    saved = load_file(folder / "checkpoint-4/model.safetensors")
    assert torch.equal(model.state_dict()["lm_head.weight"], saved["lm_head.weight"])
    assert tokenizer.bos_token == "<s>"


def test_branches_and_tags_of_the_hub_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [SimpleNamespace(name=n) for n in ("main", "step128", "step0", "step0-again", "step_x")]
    refs = SimpleNamespace(branches=names, tags=[SimpleNamespace(name="step16")])
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_refs", lambda self, repo: refs)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    source = open_source("maker/tiny@step*")
    assert source.steps == (0, 16, 128)
    assert source.warnings == (
        "skipped step0-again: its step is already given",
        "skipped step_x: its name holds no step",
    )


def test_a_hub_that_gives_no_answer_is_said_and_the_cache_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, repo: str) -> None:
        raise ConnectionError("no route to the hub")

    fill_hub_cache(tmp_path / "cache", write_full_series(tmp_path / "s", (1,)), monkeypatch)
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_refs", fail)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    source = open_source(f"{HUB_ID}@step*")
    assert source.warnings[0].startswith("the hub gave no answer: no route to the hub: only the 1")


def test_revisions_that_are_not_there_are_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        open_source("maker/tiny")
    fill_hub_cache(tmp_path / "cache", write_full_series(tmp_path / "s", (1,)), monkeypatch)
    with pytest.raises(CheckpointError, match="no revision of 'maker/other' can be listed"):
        open_source("maker/other@step*")
    with pytest.raises(CheckpointError, match="matches 'epoch\\*' and holds a step"):
        open_source(f"{HUB_ID}@epoch*")
    with pytest.raises(CheckpointError, match="cannot fetch maker/tiny@step9"):
        load_model(f"{HUB_ID}@step9")


def test_one_named_adapter_per_checkpoint_is_not_mixed_with_another(copied: Path) -> None:
    for step, name in ((1, "policy"), (2, "value"), (10, "value")):
        (copied / f"checkpoint-{step}").rename(copied / "x")
        (copied / f"checkpoint-{step}").mkdir()
        (copied / "x").rename(copied / f"checkpoint-{step}" / name)
    with pytest.raises(ConfigError, match="several adapters: policy, value"):
        open_source(str(copied))


def test_a_reference_does_not_stand_for_an_adapter_that_is_cut_short(copied: Path) -> None:
    for step in (1, 2, 10):
        shutil.copytree(copied / "checkpoint-1", copied / "x", ignore=lambda *_: ["reference"])
        (copied / "x").rename(copied / f"checkpoint-{step}" / "reference")
    (copied / "checkpoint-10/adapter_model.safetensors").write_bytes(b"half")
    source = open_source(str(copied))
    assert source.steps == (0, 1, 2)
    assert "skipped checkpoint-10: no complete adapter or model in it" in source.warnings


def test_adapters_that_act_at_some_positions_only_are_refused(copied: Path) -> None:
    change_config(copied / "checkpoint-1", alora_invocation_tokens=[3])
    with pytest.raises(CheckpointError, match="aLoRA"):
        open_source(str(copied))
