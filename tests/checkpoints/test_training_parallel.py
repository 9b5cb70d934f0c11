"""Two processes against one; gloo on the CPU stands for several GPUs."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import tiny_llama
from tiny_training import random_examples, train

from critical_phase.checkpoints import Recipe, list_series, process_device, read_log
from critical_phase.checkpoints.parallel import (
    Processes,
    join_processes,
    launched_processes,
    main_process,
)

# The last batch has one answer: none for one of the processes.
RECIPE = Recipe(steps=6, batch_size=4, lr=1e-3, rank=4, alpha=8, accumulate=2)
EXAMPLES = random_examples(21)

WORKER = """
import sys
sys.path[:0] = [{tests!r}, {here!r}]
import torch; torch.set_num_threads(1)
from pathlib import Path
from test_training_parallel import EXAMPLES, RECIPE, train, tiny_llama
from critical_phase.checkpoints import Recipe
train(tiny_llama(), Path({out!r}), RECIPE, save_at=[0, 3, 6], examples=EXAMPLES)
train(tiny_llama(), Path({out!r}), RECIPE, examples=EXAMPLES)
torch.distributed.destroy_process_group()
"""


def launch(code: str, folder: Path) -> None:
    script = folder / "worker.py"
    script.write_text(code)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    ran = subprocess.run([*command, str(script)], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr[-3000:]


@pytest.mark.slow
def test_two_processes_train_the_adapters_of_one(tmp_path: Path) -> None:
    train(tiny_llama(), tmp_path / "one", RECIPE, examples=EXAMPLES)
    here = Path(__file__).parent
    code = WORKER.format(tests=str(here.parent), here=str(here), out=str(tmp_path / "two"))
    launch(code, tmp_path)
    one, two = list_series(tmp_path / "one"), list_series(tmp_path / "two")
    assert one.steps == two.steps == tuple(range(7))
    for step in one.steps:
        a, b = (load_file(s.at(step).path / "adapter_model.safetensors") for s in (one, two))
        # Sums of float32 in another order (eps 1e-7) reach a weight through Adam, which
        # divides by the gradient's own size: a relative error of up to 1e-4 where the
        # terms of a sum nearly cancel, times 6 steps of lr 1e-3.
        assert all(torch.allclose(a[name], b[name], rtol=0, atol=6e-7) for name in a)
    logs = [read_log(tmp_path / name / "log.csv") for name in ("one", "two")]
    for x, y in zip(*logs, strict=True):
        assert (x.step, x.examples, x.tokens, x.input_tokens) == (
            y.step,
            y.examples,
            y.tokens,
            y.input_tokens,
        )
        assert x.loss == pytest.approx(y.loss, rel=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_the_shares_of_a_batch_are_disjoint_and_cover_it(count: int) -> None:
    for size in (1, 2, 7, 8):
        shares = [Processes(rank, count).part(range(size)) for rank in range(count)]
        assert [i for share in shares for i in share] == list(range(size))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_without_a_launcher_there_is_one_process() -> None:
    assert join_processes(torch.device("cpu")) == Processes(0, 1)
    assert not torch.distributed.is_initialized()


def test_every_launched_process_gets_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (launched_processes(), process_device("cuda"), main_process()) == (1, "cuda", True)
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "6")
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert (process_device("cuda"), process_device("cpu")) == ("cuda:2", "cpu")
    assert not main_process()
