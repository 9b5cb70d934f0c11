"""A training that collects is killed at random moments; neither adapters nor files show it."""

from pathlib import Path

import numpy as np
import pytest
from nursery import Nursery
from tiny_collecting import collected_training, contents, head_bytes
from tiny_models import tiny_llama

from critical_phase.checkpoints import Recipe

RECIPE = Recipe(
    steps=10, batch_size=4, lr=1e-2, rank=2, alpha=4, accumulate=2, lora=(("lora_dropout", 0.3),)
)

IMPORTS = """
from pathlib import Path
from test_in_training_kills import RECIPE, collected_training, tiny_llama
"""
TRAIN = "collected_training(Path(words[0]), tiny_llama(), RECIPE)"


@pytest.mark.slow
def test_kills_at_random_moments_leave_the_same_adapters_and_files(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    collected_training(whole, tiny_llama(), RECIPE)
    delays = np.random.default_rng(0).uniform(0.1, 0.8, size=3)
    with Nursery(IMPORTS, TRAIN, Path(__file__).parent) as nursery:
        kills = nursery.kills(delays, str(killed))
    assert kills >= 2
    one = collected_training(killed, tiny_llama(), RECIPE)
    assert not one.report.failed
    assert contents(killed) == contents(whole)
    assert head_bytes(killed) == head_bytes(whole)
    assert not list(killed.rglob(".*.tmp"))
