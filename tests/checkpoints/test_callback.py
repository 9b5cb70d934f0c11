import json
import math
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_trainer import Rows, arguments, full_model, lora_model, train
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState

from critical_phase.checkpoints import (
    DenseCheckpointCallback,
    list_series,
    open_source,
    read_log,
)
from critical_phase.checkpoints.trainer_notes import noted_batch_size, noted_losses
from critical_phase.errors import ConfigError


@pytest.fixture(scope="module")
def run(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 steps with a LoRA; Trainer itself saves every 5 into a folder of its own."""
    folder = tmp_path_factory.mktemp("trainer")
    callback = DenseCheckpointCallback("every:5,log:6", folder=folder / "dense")
    train(
        lora_model(tiny_model_folder),
        folder / "own",
        [callback],
        save_strategy="steps",
        save_steps=5,
    )
    return folder


def test_the_scheduled_steps_are_saved_with_both_ends(run: Path) -> None:
    series = list_series(run / "dense")
    assert series.steps == (0, 1, 2, 3, 5, 6, 10, 11, 15, 20)
    assert series.warnings == ()


def test_adapters_equal_those_that_the_trainer_saves_at_the_same_step(run: Path) -> None:
    for step in (5, 10, 15, 20):
        name = f"checkpoint-{step}/adapter_model.safetensors"
        ours, theirs = load_file(run / "dense" / name), load_file(run / "own" / name)
        assert sorted(ours) == sorted(theirs)
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_random_numbers_and_results_are_not_disturbed(
    run: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    """The adapter has dropout, so one drawn number more would change every weight."""
    train(lora_model(tiny_model_folder), tmp_path, [], save_strategy="steps", save_steps=20)
    name = "checkpoint-20/adapter_model.safetensors"
    with_ours, without = load_file(run / "dense" / name), load_file(tmp_path / name)
    assert all(torch.equal(with_ours[key], without[key]) for key in without)


def test_step_0_is_the_untrained_adapter(run: Path) -> None:
    tensors = load_file(run / "dense/checkpoint-0/adapter_model.safetensors")
    assert not any(bool(tensor.any()) for name, tensor in tensors.items() if "lora_B" in name)


def test_notes_and_log_hold_what_the_trainer_knows(run: Path) -> None:
    note = json.loads((run / "dense/checkpoint-10/critical_phase.json").read_text())
    log = {row.step: row for row in read_log(run / "dense/log.csv")}
    assert note["examples"] == 40
    assert sorted(log) == list(range(1, 21))
    assert note["loss"] == log[10].loss
    # The linear schedule goes from 0.02 to 0 in 20 steps; step 10 is taken at 11 / 20.
    assert note["lr"] == pytest.approx(0.02 * 11 / 20) == pytest.approx(log[10].lr)
    assert noted_batch_size(run / "dense") == (4, "")
    assert noted_losses(run / "dense")[10] == log[10].loss


def test_losses_and_batch_come_from_trainer_state_where_there_is_no_log(run: Path) -> None:
    ours = noted_losses(run / "dense")
    assert noted_losses(run / "own") == {step: ours[step] for step in range(1, 21)}
    size, about = noted_batch_size(run / "own")
    assert size == 2
    assert "--batch-size" in about


def test_full_weights_are_saved_and_read_as_a_series(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    trainer = train(full_model(tiny_model_folder), tmp_path, [DenseCheckpointCallback([1, 4])])
    series = list_series(tmp_path)
    assert series.steps == (0, 1, 4, 20)
    assert {item.kind for item in series.checkpoints} == {"full"}
    saved = load_file(tmp_path / "checkpoint-20/model.safetensors")
    live = trainer.model.state_dict()
    assert all(torch.equal(saved[name], live[name]) for name in saved)


def test_a_checkpoint_that_the_trainer_writes_too_keeps_its_optimizer(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    given = {"save_strategy": "steps", "save_steps": 2, "max_steps": 2, "save_total_limit": 3}
    for _ in range(2):  # the second time both find the folder there
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = lora_model(tiny_model_folder)
            train(model, tmp_path, [DenseCheckpointCallback([2], save_step0=False)], **given)
        said = [str(one.message) for one in caught if one.category is UserWarning]
        assert [text.partition(" ")[0] for text in said] == ["save_total_limit=3", "the"]
        kept = {path.name for path in (tmp_path / "checkpoint-2").iterdir()}
        assert kept >= {"critical_phase.json", "optimizer.pt", "adapter_model.safetensors"}


def test_an_earlier_training_in_the_folder_is_said(tiny_model_folder: Path, tmp_path: Path) -> None:
    train(lora_model(tiny_model_folder), tmp_path, [DenseCheckpointCallback([3])], max_steps=4)
    with pytest.warns(UserWarning, match=r"earlier training \(step 3\)"):
        train(lora_model(tiny_model_folder), tmp_path, [DenseCheckpointCallback([2])], max_steps=4)


def test_a_training_that_stops_early_still_saves_its_last_step(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
            control.should_training_stop = state.global_step == 3

    train(lora_model(tiny_model_folder), tmp_path, [DenseCheckpointCallback([1]), Stop()])
    assert list_series(tmp_path).steps == (0, 1, 3)


def test_a_resumed_training_goes_on_with_log_and_series(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    def trainer(last: int) -> Trainer:
        given = arguments(tmp_path / "own", save_strategy="steps", save_steps=2, max_steps=last)
        callback = DenseCheckpointCallback("every:1", folder=tmp_path / "dense")
        model = lora_model(tiny_model_folder)
        return Trainer(model, given, train_dataset=Rows(), callbacks=[callback])

    trainer(4).train()
    first = list_series(tmp_path / "dense").at(0)
    trainer(6).train(resume_from_checkpoint=str(tmp_path / "own/checkpoint-4"))
    series = list_series(tmp_path / "dense")
    assert series.steps == (0, 1, 2, 3, 4, 5, 6)
    assert series.at(0) == first
    assert [row.step for row in read_log(tmp_path / "dense/log.csv")] == [1, 2, 3, 4, 5, 6]


def test_step_0_can_be_left_out_and_gradient_norms_may_be_unknown(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    callback = DenseCheckpointCallback([2], save_step0=False)
    train(lora_model(tiny_model_folder), tmp_path, [callback], max_steps=2, logging_steps=2)
    assert list_series(tmp_path).steps == (2,)
    assert not any(math.isinf(row.gradient_norm) for row in read_log(tmp_path / "log.csv"))


def test_a_step_beyond_the_end_is_refused_before_training(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="no checkpoint at step 99; nearest: 18, 19, 20"):
        train(lora_model(tiny_model_folder), tmp_path, [DenseCheckpointCallback([1, 99])])


def test_load_best_model_at_end_is_said(tiny_model_folder: Path, tmp_path: Path) -> None:
    given = arguments(tmp_path)
    given.load_best_model_at_end = True
    state = TrainerState(max_steps=4, global_step=2, is_world_process_zero=True)
    with pytest.warns(UserWarning, match="puts earlier weights back"):
        DenseCheckpointCallback([1]).on_train_begin(given, state, TrainerControl())


@pytest.mark.filterwarnings("ignore")  # trl's own deprecations
def test_sft_trainer_of_trl_takes_the_callback(tiny_model_folder: Path, tmp_path: Path) -> None:
    trl = pytest.importorskip("trl", reason="trl is not installed: SFTTrainer is not tried")
    from datasets import Dataset
    from transformers import AutoTokenizer

    given = trl.SFTConfig(
        output_dir=str(tmp_path), max_steps=4, per_device_train_batch_size=2, use_cpu=True,
        report_to=[], save_strategy="no", logging_steps=1, disable_tqdm=True, bf16=False,
        dataloader_pin_memory=False, max_length=8,
    )  # fmt: skip
    trainer = trl.SFTTrainer(
        lora_model(tiny_model_folder), given, callbacks=[DenseCheckpointCallback("log:3")],
        train_dataset=Dataset.from_dict({"text": ["what is the colour of a sky"] * 8}),
        processing_class=AutoTokenizer.from_pretrained(tiny_model_folder),
    )  # fmt: skip
    trainer.train()
    assert list_series(tmp_path).steps == (0, 1, 2, 4)
    assert noted_batch_size(tmp_path)[0] == given.per_device_train_batch_size * (
        given.gradient_accumulation_steps
    )


def test_a_folder_that_two_trainings_wrote_says_so(tiny_model_folder: Path, tmp_path: Path) -> None:
    class Kill(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
            if state.global_step == 2:
                raise KeyboardInterrupt

    train(lora_model(tiny_model_folder), tmp_path, [DenseCheckpointCallback([2])], max_steps=4)
    assert open_source(str(tmp_path)).warnings == ()
    callbacks = [DenseCheckpointCallback([2]), Kill()]
    with pytest.raises(KeyboardInterrupt):
        train(lora_model(tiny_model_folder), tmp_path, callbacks, max_steps=4)
    said = "the folder mixes checkpoints of 2 trainings: steps 0, 2; 4"
    assert open_source(str(tmp_path)).warnings == (said,)
