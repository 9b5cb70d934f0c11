import json
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tiny_models import tiny_gpt2, tiny_llama
from tiny_training import hashes, head_folder, random_examples, train

from critical_phase.checkpoints import Example, Recipe, list_series, load_model, read_log
from critical_phase.checkpoints.answer_loss import IGNORED, answer_loss, collate
from critical_phase.checkpoints.peft_state import quiet_peft
from critical_phase.checkpoints.training_loop import TrainingLoop
from critical_phase.errors import CheckpointError, ConfigError


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
    recipe = Recipe(steps=60, batch_size=2, lr=1e-1, rank=2, alpha=4)
    train(tiny_model_folder, tmp_path, recipe, examples=random_examples(3) * 40)
    rows = read_log(tmp_path / "log.csv")
    assert [row.step for row in rows] == list(range(1, 61))
    assert [row.examples for row in rows] == list(range(2, 121, 2))
    assert np.mean([r.loss for r in rows[-10:]]) < np.mean([r.loss for r in rows[:10]]) - 0.05


def test_only_answer_tokens_count_in_the_loss() -> None:
    model, batch = tiny_llama(), random_examples(3)
    tokens, mask, labels = collate(batch, pad_id=1)
    loss = answer_loss(model(input_ids=tokens, attention_mask=mask).logits, labels)
    terms = []
    for item in batch:
        ids = torch.tensor([item.question_ids + item.answer_ids])
        log_p = model(ids).logits.log_softmax(-1)[0]
        start = len(item.question_ids)
        terms += [log_p[start + i - 1, token] for i, token in enumerate(item.answer_ids)]
    assert int((labels != IGNORED).sum()) == len(terms)
    assert loss.item() == pytest.approx(-torch.stack(terms).mean().item(), abs=1e-6)


def test_sharing_a_batch_among_forward_passes_changes_only_rounding(tmp_path: Path) -> None:
    examples = random_examples(24)
    norms = []
    for accumulate in (1, 3, 8):
        recipe = Recipe(steps=3, batch_size=8, accumulate=accumulate, lr=1e-2, rank=2)
        loop = TrainingLoop(tiny_llama(), examples, recipe, seed=1, pad_id=1)
        norms.append([(row.loss, row.gradient_norm) for row in (loop.advance(), loop.advance())])
    # Sums of float32 in another order, and one step of Adam on them.
    assert np.allclose(norms[0], norms[1], rtol=1e-4)
    assert np.allclose(norms[0], norms[2], rtol=1e-4)


def test_the_last_step_may_have_fewer_answers(tmp_path: Path) -> None:
    recipe = Recipe(steps=3, batch_size=4, lr=1e-2, rank=2)
    train(tiny_llama(), tmp_path, recipe, examples=random_examples(9))
    assert [row.examples for row in read_log(tmp_path / "log.csv")] == [4, 8, 9]


@pytest.mark.parametrize("count", [8, 13, 0])
def test_another_number_of_examples_is_refused(count: int, tmp_path: Path) -> None:
    recipe = Recipe(steps=3, batch_size=4, rank=2)
    with pytest.raises(ConfigError, match=rf"take 12 examples .* found {count}"):
        train(tiny_llama(), tmp_path, recipe, examples=random_examples(count))


def test_an_answer_beyond_the_context_is_named_before_any_training(tmp_path: Path) -> None:
    long = Example("endless", "x", (2,) * 60, (3,) * 5)
    with pytest.raises(ConfigError, match=r"'endless' .* has 65 tokens, .* reads at most 64"):
        train(tiny_llama(), tmp_path, examples=[*random_examples(23), long])
    assert not list(tmp_path.iterdir())


def test_a_step_beyond_the_end_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"save step 13, but training has steps 0\.\.12"):
        train(tiny_llama(), tmp_path, save_at=[4, 13])


def test_the_log_tells_lengths_and_the_size_of_every_update(tmp_path: Path) -> None:
    train(tiny_llama(), tmp_path)
    first, second = list_series(tmp_path).checkpoints[1:3]
    row, examples = read_log(tmp_path / "log.csv")[1], random_examples(4)[2:]
    before, after = (load_file(c.path / "adapter_model.safetensors") for c in (first, second))
    moved = sum(float((after[n] - before[n]).double().square().sum()) for n in after) ** 0.5
    assert row.update_norm == pytest.approx(moved, rel=1e-4)
    assert row.tokens == sum(len(e.answer_ids) for e in examples)
    assert row.input_tokens == row.tokens + sum(len(e.question_ids) for e in examples)


def test_another_recipe_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    train(tiny_llama(), tmp_path, seed=1)
    (tmp_path / "done.json").write_text(json.dumps({"base_model": "x", "seed": 5}))
    with pytest.raises(CheckpointError, match=r"trained with another base_model.*and 2 more"):
        _ = head_folder(tmp_path, seed=1).finished


@pytest.mark.parametrize("lost", [["done.json"], ["done.json", "states"]])
def test_checkpoints_of_another_training_are_never_replaced(
    lost: list[str], tmp_path: Path
) -> None:
    train(tiny_llama(), tmp_path, seed=1)
    before = hashes(tmp_path)
    for name in lost:
        (tmp_path / name).rename(tmp_path / f"away-{name}")
    with pytest.raises(CheckpointError, match="trained with another seed: asked for 2, found 1"):
        train(tiny_llama(), tmp_path, seed=2)
    assert hashes(tmp_path) == before


def test_a_broken_loss_stops_training_and_keeps_what_was_saved(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"training broke at step \d+") as caught:
        train(tiny_model_folder, tmp_path, Recipe(steps=12, batch_size=2, lr=1e30, rank=2, alpha=4))
    assert "--lr" in caught.value.fix
    assert 0 in list_series(tmp_path).steps


def test_targets_that_do_not_exist_are_named(tiny_model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot put an adapter on c_fc"):
        train(tiny_model_folder, tmp_path, Recipe(targets=("c_fc",)))


def test_the_saved_state_is_not_pickled(tiny_model_folder: Path, tmp_path: Path) -> None:
    train(tiny_model_folder, tmp_path)
    suffixes = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert suffixes == {".json", ".safetensors", ".csv"}
    assert load_file(tmp_path / "checkpoint-12" / "adapter_model.safetensors")


def test_a_base_with_dropout_trains_to_the_same_adapters_every_time(tmp_path: Path) -> None:
    recipe = Recipe(steps=4, batch_size=2, lr=1e-2, rank=2, alpha=4, targets=("c_fc",))
    for name in ("one", "two"):
        train(tiny_gpt2(), tmp_path / name, recipe)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
