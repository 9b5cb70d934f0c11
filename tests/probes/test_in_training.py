"""Collecting while training: the same adapters, the same files, whatever happens between."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_collecting import (
    HEAD,
    collect_after,
    collected_training,
    contents,
    head_bytes,
    largest_differences,
    live,
    train_run,
    visitor,
)
from tiny_models import tiny_gpt2, tiny_llama
from tiny_trainer import lora_model
from tiny_trainer import train as train_by_trainer

from critical_phase.checkpoints import (
    DenseCheckpointCallback,
    Recipe,
    list_series,
    load_model,
    model_sha256,
)
from critical_phase.checkpoints.training_loop import TrainingLoop
from critical_phase.errors import CheckpointError, ConfigError, StoreError
from critical_phase.probes import COLLECTORS, CollectSettings, read_attrs, read_scores, score
from critical_phase.probes.in_training import LiveJob

SMALL = {"batch_size": 4, "lr": 1e-2, "rank": 2, "alpha": 4}
DROPOUT = Recipe(steps=4, accumulate=2, lora=(("lora_dropout", 0.3),), **SMALL)
DORA = Recipe(steps=2, lora=(("lora_dropout", 0.3), ("use_dora", True)), **SMALL)
BIAS = Recipe(steps=3, lora=(("bias", "all"),), targets=("c_fc",), **SMALL)
HEAD_TOO = Recipe(steps=2, lora=(("modules_to_save", ["lm_head"]),), **SMALL)
HALF = Recipe(steps=2, dtype="bfloat16", **SMALL)
EVERYTHING = CollectSettings(
    tuple(COLLECTORS), pattern_rows=(0, 1), residual_sites=("pre", "mid", "post")
)
CASES = {
    "dropout and accumulation": (tiny_llama, DROPOUT),
    "dora": (tiny_llama, DORA),
    "biases, dropout in the base": (tiny_gpt2, BIAS),
    "modules_to_save": (tiny_llama, HEAD_TOO),
    "bfloat16": (lambda: tiny_llama().to(torch.bfloat16), HALF),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was collected while it was trained, and never disturbed."""
    run = tmp_path_factory.mktemp("whole")
    collected_training(run, tiny_llama(), DROPOUT)
    return run


@pytest.mark.parametrize("case", CASES)
def test_training_leaves_the_same_bits_with_and_without(case: str, tmp_path: Path) -> None:
    make, recipe = CASES[case]
    one = collected_training(tmp_path / "with", make(), recipe, settings=EVERYTHING)
    train_run(tmp_path / "without", make(), recipe)
    assert head_bytes(tmp_path / "with") == head_bytes(tmp_path / "without")
    assert len(one.report.done) == recipe.steps + 2  # the base and step 0 too
    assert not one.report.failed


def test_a_look_that_leaves_the_mode_changed_is_seen(tmp_path: Path) -> None:
    """Control of the comparison above."""
    train_run(
        tmp_path / "with", tiny_llama(), DROPOUT, visit=lambda loop: void(loop.adapter.eval())
    )
    train_run(tmp_path / "without", tiny_llama(), DROPOUT)
    assert head_bytes(tmp_path / "with") != head_bytes(tmp_path / "without")


def void(_: object) -> None:
    """Return nothing."""


@pytest.mark.parametrize("case", ["dropout and accumulation", "dora", "modules_to_save"])
def test_files_are_those_of_a_later_collection_within_rounding(case: str, tmp_path: Path) -> None:
    make, recipe = CASES[case]
    collected_training(tmp_path / "live", make(), recipe, settings=EVERYTHING)
    shutil.copytree(tmp_path / "live/heads", tmp_path / "after/heads")
    collect_after(tmp_path / "after", make(), settings=EVERYTHING)
    gaps = largest_differences(tmp_path / "live", tmp_path / "after")
    assert {"residual", "attention_row", "sparsity", "margin_gradient"} <= gaps.keys()
    assert {name: gap for name, gap in gaps.items() if gap > 1e-5} == {}
    attributes = [read_attrs(path) for path in (tmp_path / "live").rglob("*.h5")]
    assert [one["merged"] for one in attributes] == [0] * (2 * recipe.steps + 4)


def test_a_later_collection_takes_every_file_as_existing(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    before = contents(tmp_path)
    report = collect_after(tmp_path, tiny_llama())
    assert (len(report.done), len(report.existing)) == (0, 6)
    assert contents(tmp_path) == before
    for item in list_series(tmp_path / "heads" / HEAD).checkpoints:
        path = tmp_path / "activations" / HEAD / f"step-{item.step:08d}.h5"
        assert read_attrs(path)["adapter_sha256"] == item.sha256


def test_the_base_is_the_base_though_biases_are_trained(tmp_path: Path) -> None:
    one = collected_training(tmp_path, tiny_gpt2(), BIAS)
    stored = read_scores(tmp_path / "scores/base/step-00000000.h5").logprob_sum
    np.testing.assert_allclose(stored, score(tiny_gpt2(), one.plan).logprob_sum, atol=1e-5)
    last = read_scores(tmp_path / f"scores/{HEAD}/step-00000003.h5").logprob_sum
    assert float(np.abs(last - stored).max()) > 1e-3


@pytest.mark.parametrize(("step", "moment"), [(0, "before"), (3, "before"), (4, "after")])
def test_a_training_stopped_between_files_and_adapter_ends_in_the_same(
    step: int, moment: str, whole: Path, tmp_path: Path
) -> None:
    model = tiny_llama()
    look = visitor(live(tmp_path, model), tmp_path)

    def stop(loop: TrainingLoop) -> None:
        if loop.step != step or moment == "after":
            look(loop)
        if loop.step == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_run(tmp_path, model, DROPOUT, visit=stop)
    one = collected_training(tmp_path, tiny_llama(), DROPOUT)
    assert contents(tmp_path) == contents(whole)
    assert head_bytes(tmp_path) == head_bytes(whole)
    existing = {unit.step for unit in one.report.existing}
    assert (0 in existing, step in existing and step > 0) == (step > 0, moment == "after")


def test_every_saved_adapter_has_its_files_at_any_moment(tmp_path: Path) -> None:
    """Files come first: what is stopped between both has files that come again."""
    folder, seen = tmp_path / "heads" / HEAD, []
    model = tiny_llama()
    look = visitor(live(tmp_path, model), tmp_path)

    def check(loop: TrainingLoop) -> None:
        look(loop)
        saved = {int(p.name.removeprefix("checkpoint-")) for p in folder.glob("checkpoint-*")}
        files = {int(p.stem[5:]) for p in (tmp_path / "activations" / HEAD).glob("*.h5")}
        seen.append(saved <= files and loop.step not in saved)

    train_run(tmp_path, model, DROPOUT, visit=check)
    assert seen == [True] * 5


def test_files_of_an_adapter_that_is_gone_are_replaced(whole: Path, tmp_path: Path) -> None:
    other = Recipe(steps=4, accumulate=2, **(SMALL | {"lr": 2e-2}))
    collected_training(tmp_path, tiny_llama(), other)
    shutil.rmtree(tmp_path / "heads")
    one = collected_training(tmp_path, tiny_llama(), DROPOUT)
    names = [unit.name for unit in one.report.existing]
    assert names == ["base-step-00000000", f"{HEAD}-step-00000000"]
    assert contents(tmp_path) == contents(whole)


def test_files_of_other_settings_stop_it_before_anything_is_trained(
    whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    before = contents(tmp_path)
    (tmp_path / "heads" / HEAD / "done.json").unlink()
    with pytest.raises(StoreError, match="collected in another way"):
        collected_training(tmp_path, tiny_llama(), DROPOUT, settings=CollectSettings(("residual",)))
    assert contents(tmp_path) == before


def test_a_folder_of_another_training_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    train_run(tmp_path, tiny_llama(), DROPOUT)
    with pytest.raises(CheckpointError, match="trained with another recipe"):
        collected_training(tmp_path, tiny_llama(), DORA)
    assert not (tmp_path / "scores").exists()


def test_steps_added_to_a_finished_head_are_collected_too(tmp_path: Path) -> None:
    one = live(tmp_path, model := tiny_llama())
    train_run(tmp_path, model, DROPOUT, save_at=[0, 2], visit=visitor(one, tmp_path))
    two = live(tmp_path, model := tiny_llama())
    train_run(tmp_path, model, DROPOUT, save_at=[0, 2, 3], visit=visitor(two, tmp_path))
    assert [unit.step for unit in two.report.done] == [3]
    assert len(collect_after(tmp_path, tiny_llama()).existing) == 4


def test_a_step_that_cannot_be_read_is_noted_and_training_goes_on(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LiveJob.measure

    def broken(self: LiveJob, unit: object) -> object:
        if getattr(unit, "step", 0) == 2:
            raise RuntimeError("no such kernel")
        return real(self, unit)  # type: ignore[arg-type]

    monkeypatch.setattr(LiveJob, "measure", broken)
    one = collected_training(tmp_path, tiny_llama(), DROPOUT)
    assert [failure.message for failure in one.report.failed] == ["no such kernel"]
    assert one.report.failed[0].path.is_file()
    assert not one.has_files(HEAD, 2)
    assert head_bytes(tmp_path) == head_bytes(whole)
    monkeypatch.undo()
    assert [u.step for u in collect_after(tmp_path, tiny_llama()).done] == [2]


def test_what_is_no_single_adapter_is_refused(tmp_path: Path) -> None:
    one = live(tmp_path, tiny_llama())
    with pytest.raises(ConfigError, match="a LlamaForCausalLM holds no adapter"):
        one.at_step(tiny_llama(), 0, tmp_path)


def test_a_base_with_an_adapter_in_it_needs_its_hash(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="holds an adapter already"):
        live(tmp_path, lora_model(tiny_model_folder).get_base_model())


def test_a_second_adapter_and_moved_biases_are_refused(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    two = lora_model(tiny_model_folder)
    two.add_adapter("reference", two.peft_config["default"])
    moved = lora_model(tiny_model_folder, bias="all")
    one = live(tmp_path, tiny_llama())
    with pytest.raises(ConfigError, match="the adapters default, reference"):
        one.open(two)
    with pytest.raises(ConfigError, match="at step 7 the base is no longer in the model"):
        one.open(moved, 7)


def test_a_trainer_of_others_is_collected_and_trains_the_same_bits(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    for name in ("with", "without"):
        run, model = tmp_path / name, lora_model(tiny_model_folder)
        sha = model_sha256(load_model(str(tiny_model_folder))[0])
        one = live(run, model.get_base_model(), base_sha256=sha)
        callback = DenseCheckpointCallback(
            [1, 3], folder=run / "heads" / HEAD, on_save=one.at_step if name == "with" else None
        )
        train_by_trainer(model, tmp_path / "own", [callback], max_steps=4)
    series = [list_series(tmp_path / n / "heads" / HEAD).checkpoints for n in ("with", "without")]
    assert [c.sha256 for c in series[0]] == [c.sha256 for c in series[1]]
    report = collect_after(tmp_path / "with", load_model(str(tiny_model_folder))[0])
    assert (len(report.done), len(report.existing)) == (0, 5)
