"""A training that collects is killed at random moments; neither adapters nor files show it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_collecting import HEAD, collected_training, contents, head_bytes
from tiny_models import tiny_llama

from critical_phase.checkpoints import Recipe

RECIPE = Recipe(
    steps=10, batch_size=4, lr=1e-2, rank=2, alpha=4, accumulate=2, lora=(("lora_dropout", 0.3),)
)

# Imports once, then forks a fresh child for every line it reads: a kill costs no import.
NURSERY = """
import os, sys
sys.path[:0] = [{tests!r}, {here!r}]
import torch; torch.set_num_threads(1)
from pathlib import Path
from test_in_training_kills import RECIPE, collected_training, tiny_llama
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        collected_training(Path({out!r}), tiny_llama(), RECIPE)
        os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


@pytest.mark.slow
def test_kills_at_random_moments_leave_the_same_adapters_and_files(tmp_path: Path) -> None:
    whole, killed, here = tmp_path / "whole", tmp_path / "killed", Path(__file__).parent
    collected_training(whole, tiny_llama(), RECIPE)
    code = NURSERY.format(tests=str(here.parent), here=str(here), out=str(killed))
    rng, kills = np.random.default_rng(0), 0
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as nursery:
        for delay in rng.uniform(0.1, 0.8, size=3):
            nursery.stdin.write("go\n")  # type: ignore[union-attr]
            nursery.stdin.flush()  # type: ignore[union-attr]
            child = int(nursery.stdout.readline())  # type: ignore[union-attr]
            time.sleep(float(delay))
            if not (killed / "heads" / HEAD / "done.json").exists():
                os.kill(child, signal.SIGKILL)
                kills += 1
            nursery.stdout.readline()  # type: ignore[union-attr]
    assert kills >= 2
    one = collected_training(killed, tiny_llama(), RECIPE)
    assert not one.report.failed
    assert contents(killed) == contents(whole)
    assert head_bytes(killed) == head_bytes(whole)
    assert not list(killed.rglob(".*.tmp"))
