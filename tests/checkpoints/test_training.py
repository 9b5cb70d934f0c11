import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tiny_models import tiny_gpt2, word_tokenizer

from critical_phase.checkpoints import (
    Question,
    Recipe,
    TrainingFolder,
    data_order,
    draw_examples,
    encode_examples,
    list_series,
    load_model,
    negative_kind,
    prompt_format,
    read_log,
    train_head,
)
from critical_phase.checkpoints.peft_state import quiet_peft
from critical_phase.checkpoints.training import IGNORED, answer_loss, collate
from critical_phase.errors import CheckpointError, ConfigError, StoreError

QUESTIONS = [
    Question("sky", "what is the colour of the sky", ("blue", "warm red"), 0),
    Question("grass", "what is the colour of grass", ("red", "green"), 1),
    Question("snow", "what is snow", ("white", "warm", "red"), 0),
]
RECIPE = Recipe(steps=12, batch_size=2, lr=1e-2, rank=2, alpha=4)


def train(model_folder: Path, out: Path, recipe: Recipe = RECIPE, **extra: object) -> None:
    model, tokenizer = load_model(str(model_folder))
    order = data_order(3, recipe.steps * recipe.batch_size, np.random.default_rng(0))
    drawn = draw_examples(
        QUESTIONS, order, negative_kind("near_miss"), (), np.random.default_rng(1)
    )
    examples = encode_examples(tokenizer, prompt_format("plain"), drawn)
    folder = TrainingFolder(out, {"base_model": str(model_folder), "seed": 5, **extra})
    train_head(model, examples, recipe, range(recipe.steps + 1), folder, seed=5, pad_id=1)


def hashes(out: Path) -> dict[int, str]:
    return {item.step: item.sha256 for item in list_series(out).checkpoints}


def test_every_step_is_saved_and_peft_opens_it(tiny_model_folder: Path, tmp_path: Path) -> None:
    train(tiny_model_folder, tmp_path)
    series = list_series(tmp_path)
    assert series.steps == tuple(range(13))
    assert len({item.sha256 for item in series.checkpoints}) == 13
    model, _ = load_model(str(tiny_model_folder))
    ids = torch.tensor([[0, 2, 3, 4]])
    base = model(ids).logits
    with quiet_peft():
        adapted = PeftModel.from_pretrained(model, str(series.at(12).path)).eval()(ids).logits
    assert (adapted - base).abs().max() > 1e-3


def test_step_zero_is_exactly_the_base(tiny_model_folder: Path, tmp_path: Path) -> None:
    train(tiny_model_folder, tmp_path)
    model, _ = load_model(str(tiny_model_folder))
    ids = torch.tensor([[0, 2, 3, 4]])
    base = model(ids).logits
    with quiet_peft():
        first = PeftModel.from_pretrained(model, str(list_series(tmp_path).at(0).path)).eval()
    assert torch.equal(first(ids).logits, base)


def test_the_log_has_a_line_per_step_and_the_loss_falls(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    train(tiny_model_folder, tmp_path, Recipe(steps=60, batch_size=2, lr=1e-1, rank=2, alpha=4))
    rows = read_log(tmp_path / "log.csv")
    assert [row.step for row in rows] == list(range(1, 61))
    assert [row.examples for row in rows] == list(range(2, 121, 2))
    assert np.mean([r.loss for r in rows[-10:]]) < np.mean([r.loss for r in rows[:10]]) - 0.05


def test_only_answer_tokens_count_in_the_loss(tiny_model_folder: Path) -> None:
    model, tokenizer = load_model(str(tiny_model_folder))
    drawn = [(QUESTIONS[0], "warm red"), (QUESTIONS[2], "white")]
    batch = encode_examples(tokenizer, prompt_format("plain"), drawn)
    tokens, mask, labels = collate(batch, pad_id=1)
    loss = answer_loss(model(input_ids=tokens, attention_mask=mask).logits, labels)
    terms = []
    for item in batch:
        ids = torch.tensor([item.question_ids + item.answer_ids])
        log_p = model(ids).logits.log_softmax(-1)[0]
        start = len(item.question_ids)
        terms += [log_p[start + i - 1, token] for i, token in enumerate(item.answer_ids)]
    assert int((labels != IGNORED).sum()) == len(terms) == 3
    assert loss.item() == pytest.approx(-torch.stack(terms).mean().item(), abs=1e-6)


WORKER = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {root!r}]
from test_training import train
from critical_phase.checkpoints.training_state import TrainingFolder
import time
save = TrainingFolder.save
def slow(self, *a):
    save(self, *a); time.sleep(0.05); print(a[0], flush=True)
TrainingFolder.save = slow
train(Path({model!r}), Path({out!r}))
"""


@pytest.mark.slow
def test_a_run_killed_at_any_moment_continues_to_bit_identical_adapters(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    train(tiny_model_folder, tmp_path / "whole")
    tests = str(Path(__file__).parent)
    root = str(Path(__file__).parents[1])
    code = WORKER.format(
        tests=tests, root=root, model=str(tiny_model_folder), out=str(tmp_path / "killed")
    )
    for stop_after in (3, 7):
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
        ) as worker:
            assert worker.stdout is not None
            for line in worker.stdout:
                if int(line) >= stop_after:
                    time.sleep(0.01)
                    os.kill(worker.pid, signal.SIGKILL)
                    break
            worker.wait()
    assert not (tmp_path / "killed" / "done.json").exists()
    train(tiny_model_folder, tmp_path / "killed")
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole")
    assert read_log(tmp_path / "killed" / "log.csv") == read_log(tmp_path / "whole" / "log.csv")
    assert not list((tmp_path / "killed").glob(".*.tmp"))


def test_another_recipe_in_the_same_folder_is_refused(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    train(tiny_model_folder, tmp_path)
    (tmp_path / "done.json").unlink()
    folder = TrainingFolder(tmp_path, {"base_model": str(tiny_model_folder), "seed": 6})
    (tmp_path / "done.json").write_text(json.dumps({"base_model": "x", "seed": 5}))
    with pytest.raises(CheckpointError, match=r"trained with another base_model.*and 1 more"):
        _ = folder.finished


def test_a_broken_loss_stops_training_and_keeps_what_was_saved(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"training broke at step \d+") as caught:
        train(tiny_model_folder, tmp_path, Recipe(steps=12, batch_size=2, lr=1e30, rank=2, alpha=4))
    assert "--lr" in caught.value.fix
    assert 0 in list_series(tmp_path).steps


def test_a_full_disk_stops_training_and_keeps_what_was_saved(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: dict[str, torch.Tensor], path: Path, **kwargs: object) -> None:
        if "checkpoint-4" in str(path):
            raise OSError(28, "No space left on device")
        save(tensors, path, **kwargs)

    from critical_phase.checkpoints import training_state

    save = training_state.save_file
    monkeypatch.setattr(training_state, "save_file", full)
    with pytest.raises(StoreError, match="the disk is full: could not write checkpoint-4"):
        train(tiny_model_folder, tmp_path)
    assert list_series(tmp_path).steps == (0, 1, 2, 3)
    assert not list(tmp_path.glob(".*.tmp"))
    monkeypatch.undo()
    train(tiny_model_folder, tmp_path)
    train(tiny_model_folder, tmp_path.parent / f"{tmp_path.name}-whole")
    assert hashes(tmp_path) == hashes(tmp_path.parent / f"{tmp_path.name}-whole")


def test_targets_that_do_not_exist_are_named(tiny_model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot put an adapter on c_fc"):
        train(tiny_model_folder, tmp_path, Recipe(targets=("c_fc",)))


@pytest.mark.parametrize("field", ["steps", "batch_size", "lr", "rank", "alpha", "clip"])
def test_a_recipe_of_nothing_is_refused(field: str) -> None:
    nothing = type(getattr(Recipe(), field))(0)
    with pytest.raises(ConfigError, match=f"{field} must be above 0, found 0"):
        Recipe(**{field: nothing})


def test_the_saved_state_is_not_pickled(tiny_model_folder: Path, tmp_path: Path) -> None:
    train(tiny_model_folder, tmp_path)
    suffixes = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert suffixes == {".json", ".safetensors", ".csv"}
    assert load_file(tmp_path / "checkpoint-12" / "adapter_model.safetensors")


def test_a_base_with_dropout_trains_to_the_same_adapters_every_time(tmp_path: Path) -> None:
    recipe = Recipe(steps=4, batch_size=2, lr=1e-2, rank=2, alpha=4, targets=("c_fc",))
    tiny_gpt2().save_pretrained(tmp_path / "gpt2")
    word_tokenizer().save_pretrained(tmp_path / "gpt2")
    for name in ("one", "two"):
        train(tmp_path / "gpt2", tmp_path / name, recipe)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
