"""Random twins move as far as the trained adapters, in every module, and nowhere in common."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file

from critical_phase.checkpoints import (
    AdapterSlot,
    Checkpoint,
    Series,
    adapter_config,
    adapter_identity,
    list_series,
    load_adapter,
    load_model,
    low_rank_factors,
)
from critical_phase.checkpoints.peft_state import quiet_peft
from critical_phase.checkpoints.random_adapter import write_random_series
from critical_phase.errors import CheckpointError, StoreError

IDS = torch.tensor([[0, 2, 3, 4, 5]])


def make_series(model_folder: Path, out: Path, **settings: object) -> Series:
    """Write an empty adapter and two random ones of different sizes, as PEFT writes them."""
    for step, size in ((0, 0.0), (3, 0.1), (7, 0.4)):
        model, _ = load_model(str(model_folder))
        config = LoraConfig(r=4, lora_alpha=8, target_modules=["down_proj", "q_proj"], **settings)
        with quiet_peft():
            adapter = get_peft_model(model, config)
        generator = torch.Generator().manual_seed(step)
        for name, parameter in adapter.named_parameters():
            if "lora_B" in name:
                parameter.data = size * torch.randn(parameter.shape, generator=generator)
        adapter.save_pretrained(out / f"checkpoint-{step}", save_embedding_layers=False)
    return list_series(out)


def updates(item: Checkpoint) -> dict[str, np.ndarray]:
    """The update of every module, written out."""
    factors = low_rank_factors(item).items()
    return {name: scaling * b.astype(np.float64) @ a for name, (a, b, scaling) in factors}


@pytest.fixture(scope="module")
def source(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Series:
    return make_series(tiny_model_folder, tmp_path_factory.mktemp("trained"))


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}, {"rank_pattern": {"q_proj": 2}}])
def test_every_module_moves_as_far_as_it_did(
    tiny_model_folder: Path, tmp_path: Path, settings: dict[str, object]
) -> None:
    trained = make_series(tiny_model_folder, tmp_path / "trained", **settings)
    write_random_series(trained, tmp_path / "random", seed=0)
    twins = list_series(tmp_path / "random")
    assert twins.steps == (0, 3, 7)
    for step in (3, 7):
        here, there = updates(twins.at(step)), updates(trained.at(step))
        assert here.keys() == there.keys()
        for name, update in there.items():
            norm = np.linalg.norm(update)
            # Rounding B to float32 moves the norm by 6e-8 of itself at most.
            assert np.linalg.norm(here[name]) == pytest.approx(norm, rel=1e-7)


def test_peft_sees_the_same_norms(tiny_model_folder: Path, tmp_path: Path, source: Series) -> None:
    write_random_series(source, tmp_path, seed=0)

    def norms(folder: Path) -> list[float]:
        model, _ = load_model(str(tiny_model_folder))
        with quiet_peft():
            adapter = PeftModel.from_pretrained(model, str(folder))
        layers = [m for m in adapter.modules() if hasattr(m, "get_delta_weight")]
        return [layer.get_delta_weight("default").norm().item() for layer in layers]

    assert norms(tmp_path / "checkpoint-7") == pytest.approx(norms(source.at(7).path), rel=1e-6)


def test_the_direction_is_one_for_all_steps_and_not_the_trained_one(
    tmp_path: Path, source: Series
) -> None:
    write_random_series(source, tmp_path, seed=0)
    twins = list_series(tmp_path)
    early, late, trained = (updates(item) for item in (twins.at(3), twins.at(7), source.at(7)))
    for name in early:
        assert cosine(early[name], late[name]) == pytest.approx(1, abs=1e-6)
        # The cosine of random rank-4 updates of these sizes has an sd of about .06.
        assert abs(cosine(late[name], trained[name])) < 0.35


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


def test_step_zero_is_exactly_the_base(
    tiny_model_folder: Path, tmp_path: Path, source: Series
) -> None:
    write_random_series(source, tmp_path, seed=0)
    model, _ = load_model(str(tiny_model_folder))
    base = model(IDS).logits.detach()
    slot = AdapterSlot.attach(model, list_series(tmp_path).at(0))
    assert torch.equal(slot.model(IDS).logits, base)


def test_the_seed_alone_decides_and_another_seed_is_another_direction(
    tmp_path: Path, source: Series
) -> None:
    hashes = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_random_series(source, tmp_path / name, seed=seed)
        hashes.append([item.sha256 for item in list_series(tmp_path / name).checkpoints])
    assert hashes[0] == hashes[1]
    assert hashes[0][2] != hashes[2][2]


def test_the_note_names_seed_and_source(tmp_path: Path, source: Series) -> None:
    write_random_series(source, tmp_path, seed=4)
    note = adapter_identity(list_series(tmp_path).at(7).path)
    assert note == {
        "control": "random_adapter",
        "control_seed": 4,
        "source_sha256": source.at(7).sha256,
        "step": 7,
    }
    assert adapter_config(tmp_path / "checkpoint-7") == adapter_config(source.at(7).path)


def test_what_is_missing_is_written_and_the_rest_is_kept(tmp_path: Path, source: Series) -> None:
    assert write_random_series(source, tmp_path, seed=0) == 3
    before = {item.step: item.sha256 for item in list_series(tmp_path).checkpoints}
    for file in (tmp_path / "checkpoint-3").iterdir():
        file.unlink()
    (tmp_path / "checkpoint-3").rmdir()
    assert write_random_series(source, tmp_path, seed=0) == 1
    assert {item.step: item.sha256 for item in list_series(tmp_path).checkpoints} == before


def test_a_control_of_another_seed_or_source_is_not_mixed_in(
    tmp_path: Path, source: Series
) -> None:
    write_random_series(source, tmp_path, seed=0)
    with pytest.raises(CheckpointError, match="its control_seed is 0, asked for 1"):
        write_random_series(source, tmp_path, seed=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_dora": True}, "its use_dora is True"),
        ({"bias": "lora_only"}, "its bias is 'lora_only'"),
        ({"modules_to_save": ["lm_head"]}, "its modules_to_save is"),
    ],
)
def test_adapters_that_are_more_than_two_factors_are_refused(
    tiny_model_folder: Path, tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    trained = make_series(tiny_model_folder, tmp_path / "trained", **settings)
    with pytest.raises(CheckpointError, match=message):
        write_random_series(trained, tmp_path / "random", seed=0)
    assert not (tmp_path / "random").exists()


def copy_with(
    source: Series, out: Path, *, config: dict[str, object], tensors: dict[str, torch.Tensor]
) -> Series:
    """The adapter of step 3 with other settings, or with other tensors."""
    folder = out / "checkpoint-1"
    folder.mkdir()
    text = json.dumps(adapter_config(source.at(3).path) | config)
    (folder / "adapter_config.json").write_text(text)
    save_file(tensors, folder / "adapter_model.safetensors")
    return list_series(out)


@pytest.mark.parametrize("name", ["lora_bias", "use_qalora", "trainable_token_indices"])
def test_settings_that_add_to_the_factors_are_refused(
    tmp_path: Path, source: Series, name: str
) -> None:
    odd = copy_with(source, tmp_path, config={name: True}, tensors=load_adapter(source.at(3).path))
    with pytest.raises(CheckpointError, match=f"its {name} is True"):
        write_random_series(odd, tmp_path / "random", seed=0)


def test_a_tensor_beside_the_factors_is_refused(tmp_path: Path, source: Series) -> None:
    tensors = load_adapter(source.at(3).path) | {"magnitude": torch.ones(3)}
    odd = copy_with(source, tmp_path, config={}, tensors=tensors)
    with pytest.raises(CheckpointError, match="it holds 'magnitude'"):
        write_random_series(odd, tmp_path / "random", seed=0)


def test_an_update_that_is_not_finite_is_refused(tmp_path: Path, source: Series) -> None:
    broken = {name: t * float("nan") for name, t in load_adapter(source.at(3).path).items()}
    odd = copy_with(source, tmp_path, config={}, tensors=broken)
    with pytest.raises(CheckpointError, match="has the norm nan"):
        write_random_series(odd, tmp_path / "random", seed=0)


def test_a_pattern_from_the_start_of_the_name_scales_as_peft_does(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    pattern = {"^model.layers.0.mlp.down_proj": 2}
    item = make_series(tiny_model_folder, tmp_path, rank_pattern=pattern).at(7)
    model, _ = load_model(str(tiny_model_folder))
    with quiet_peft():
        adapter = PeftModel.from_pretrained(model, str(item.path))
    found = updates(item)
    for name, delta in found.items():
        layer = adapter.get_base_model().get_submodule(name)
        np.testing.assert_allclose(delta, layer.get_delta_weight("default").detach(), atol=1e-6)
    assert "model.layers.0.mlp.down_proj" in found


def test_a_full_disk_is_said_and_leaves_no_half_checkpoint(
    source: Series, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreError, match="the disk is full"):
        write_random_series(source, tmp_path, seed=0)
    assert list(tmp_path.iterdir()) == []
