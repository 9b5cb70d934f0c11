"""Training is killed at random moments; what comes out must not show it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from nursery import Nursery
from tiny_models import tiny_llama
from tiny_training import hashes, train

from critical_phase.checkpoints import Recipe, read_log
from critical_phase.checkpoints.answer_loss import summed_answer_loss
from critical_phase.checkpoints.training_state import is_milestone
from critical_phase.errors import CheckpointError

RECIPE = Recipe(steps=512, batch_size=2, lr=1e-3, rank=8, alpha=8)
ASKED = [*range(64), *range(64, 513, 16)]

IMPORTS = """
from pathlib import Path
from test_training_kills import ASKED, RECIPE, train, tiny_llama
"""
TRAIN = "train(tiny_llama(), Path(words[0]), RECIPE, save_at=ASKED)"


@pytest.mark.slow
def test_a_training_killed_at_random_moments_ends_in_the_same_bits(tmp_path: Path) -> None:
    train(tiny_llama(), tmp_path / "whole", RECIPE, save_at=ASKED)
    killed, delays = tmp_path / "killed", np.random.default_rng(0).uniform(0.05, 1.2, size=6)
    with Nursery(IMPORTS, TRAIN, Path(__file__).parent) as nursery:
        kills = nursery.kills(delays, str(killed))
    assert kills >= 3
    train(tiny_llama(), killed, RECIPE, save_at=ASKED)
    assert hashes(killed) == hashes(tmp_path / "whole")
    assert read_log(killed / "log.csv") == read_log(tmp_path / "whole" / "log.csv")
    assert not list(killed.rglob(".*.tmp"))


@pytest.mark.parametrize("newest", [0, 1, 4, 8])
def test_it_goes_on_from_any_state_as_if_never_stopped(newest: int, tmp_path: Path) -> None:
    """Every way a kill can leave the folder: states up to some step, checkpoints beyond it."""
    recipe = Recipe(steps=12, batch_size=2, lr=1e-2, rank=2, lora=(("lora_dropout", 0.2),))
    for name in ("whole", "cut"):
        train(tiny_llama(), tmp_path / name, recipe)
    (tmp_path / "cut" / "done.json").unlink()
    for state in (tmp_path / "cut" / "states").iterdir():
        step = int(state.stem.removeprefix("step-"))
        if step > newest:
            state.unlink()
    (tmp_path / "cut" / "checkpoint-12" / "adapter_model.safetensors").write_bytes(b"torn")
    train(tiny_llama(), tmp_path / "cut", recipe)
    assert hashes(tmp_path / "cut") == hashes(tmp_path / "whole")
    assert read_log(tmp_path / "cut" / "log.csv") == read_log(tmp_path / "whole" / "log.csv")
    assert is_milestone(newest)


def test_a_loss_that_breaks_leaves_every_step_before_it_and_can_be_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(steps=12, batch_size=2, lr=1e-2, rank=2)
    train(tiny_llama(), tmp_path / "whole", recipe)
    calls = iter(range(12))
    module = "critical_phase.checkpoints.training_loop.summed_answer_loss"

    def broken(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = summed_answer_loss(logits, labels)
        return loss * float("nan") if next(calls) == 6 else loss

    monkeypatch.setattr(module, broken)
    with pytest.raises(CheckpointError, match="training broke at step 7: loss nan"):
        train(tiny_llama(), tmp_path / "broken", recipe)
    assert sorted(hashes(tmp_path / "broken")) == list(range(7))
    assert [row.step for row in read_log(tmp_path / "broken" / "log.csv")] == list(range(1, 7))
    monkeypatch.undo()
    train(tiny_llama(), tmp_path / "broken", recipe)
    assert hashes(tmp_path / "broken") == hashes(tmp_path / "whole")
