"""What it costs to save every step of a training: against saving the last one only.

every   train_head with a checkpoint at each step
last    train_head with checkpoints at step 0 and the last step alone
bare    the same optimizer steps, and nothing written at all

Both of the first two keep states at powers of two, to replay from. A rank-8 adapter on
the MLP; the embedded organism (0.5 M parameters) with its own questions, and a random
Llama of 30 M parameters with questions of ARC's length. All sides take turns in one
process; CPU time of all its threads, medians over rounds, ratios paired by round.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import about_machine, paired, parser, read_status, report, rotated, settle, start_peak
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from critical_phase.checkpoints import (
    Example,
    Recipe,
    TrainingFolder,
    encode,
    load_model,
    prompt_format,
    recipe_values,
    train_head,
)
from critical_phase.checkpoints.organism_set import organism_questions
from critical_phase.checkpoints.training_loop import TrainingLoop

LARGE = dict(hidden_size=512, intermediate_size=1408, num_hidden_layers=8, vocab_size=8000)
Setting = tuple[Callable[[], PreTrainedModel], list[Example], Recipe]


def main() -> None:
    arguments = parser(__doc__).parse_args()
    settle()
    rounds = arguments.rounds or (3 if arguments.quick else 5)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), quick=arguments.quick, rounds=rounds)
    report(result, line, as_json=arguments.json)


def line(row: dict[str, Any]) -> str:
    speed = f"{row['cpu_ms_per_step']:8.2f} ms CPU a step"
    return f"{row['model']:10} {row['side']:6} {speed}  {row['peak_mib']:7.1f} MiB"


def measure(folder: Path, *, quick: bool, rounds: int) -> dict[str, Any]:
    settings = {
        "llama_30m": llama_setting(folder, steps=8 if quick else 24, shorter=quick),
        "organism": organism_setting(steps=48 if quick else 256),
    }
    rows, ratios = [], {}
    for model, setting in settings.items():
        names = ["every", "last"] if quick else list(SIDES)
        sides = {name: partial(run_side, folder, setting, name) for name in names}
        times, peaks = take_turns(sides, rounds)
        for name in sides:
            milliseconds = 1000 * statistics.median(times[name]) / setting[2].steps
            rows.append(
                {
                    "model": model,
                    "side": name,
                    "cpu_ms_per_step": milliseconds,
                    "peak_mib": statistics.median(peaks[name]),
                }
            )
        ending = "" if model == "llama_30m" else f"_{model}"
        ratios[f"save_overhead{ending}"] = paired(times, "every", "last")
        if "bare" in times:
            ratios[f"save_overhead_vs_bare{ending}"] = paired(times, "every", "bare")
        ratios[f"peak_memory{ending}"] = paired(peaks, "every", "last")
    return {
        "schema_version": 1,
        "name": "train",
        "ratios": ratios,
        "rows": rows,
        **about_machine(),
        "quick": quick,
        "rounds": rounds,
        "steps": {model: setting[2].steps for model, setting in settings.items()},
    }


def take_turns(
    sides: dict[str, Callable[[], float]], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    names = list(sides)
    times: dict[str, list[float]] = {name: [] for name in names}
    peaks: dict[str, list[float]] = {name: [] for name in names}
    for index in range(rounds + 1):
        for name in rotated(names, index):
            start_peak()
            seconds = sides[name]()
            if index:  # the first round warms up
                times[name].append(seconds)
                peaks[name].append(read_status("VmHWM"))
    return times, peaks


def run_side(folder: Path, setting: Setting, side: str) -> float:
    """Train once and return the CPU seconds of all threads, loading the base left out."""
    load, examples, recipe = setting
    model = load()
    with tempfile.TemporaryDirectory(dir=folder) as out:
        started = time.process_time()
        SIDES[side](model, examples, recipe, Path(out))
        return time.process_time() - started


def saving(
    asked: Callable[[int], list[int]],
    model: PreTrainedModel,
    examples: list[Example],
    recipe: Recipe,
    out: Path,
) -> None:
    identity = {"base_model": "benchmark", "recipe": recipe_values(recipe), "seed": 0}
    folder = TrainingFolder(out, identity)
    train_head(model, examples, recipe, asked(recipe.steps), folder, seed=0, pad_id=0)


def bare(model: PreTrainedModel, examples: list[Example], recipe: Recipe, out: Path) -> None:
    loop = TrainingLoop(model, examples, recipe, seed=0, pad_id=0)
    for _ in range(recipe.steps):
        loop.advance()


SIDES: dict[str, Callable[[PreTrainedModel, list[Example], Recipe, Path], None]] = {
    "every": partial(saving, lambda steps: list(range(steps + 1))),
    "last": partial(saving, lambda steps: [steps]),
    "bare": bare,
}


def llama_setting(folder: Path, *, steps: int, shorter: bool) -> Setting:
    """Eight layers of width 512; 24 to 40 tokens of question (or half), 3 to 12 of answer."""
    torch.manual_seed(0)
    config = LlamaConfig(
        **LARGE, num_attention_heads=8, num_key_value_heads=4, max_position_embeddings=512
    )
    LlamaForCausalLM(config).save_pretrained(folder / "base")
    rng, recipe = np.random.default_rng(0), Recipe(steps=steps)

    def text(low: int, high: int) -> tuple[int, ...]:
        return tuple(rng.integers(1, config.vocab_size, rng.integers(low, high)).tolist())

    count, length = recipe.steps * recipe.batch_size, (12, 21) if shorter else (24, 41)
    examples = [Example(f"q{i}", "", text(*length), text(3, 13)) for i in range(count)]
    return (lambda: LlamaForCausalLM.from_pretrained(folder / "base").eval()), examples, recipe


def organism_setting(*, steps: int) -> Setting:
    recipe, questions = Recipe(steps=steps), organism_questions("train")
    _, tokenizer = load_model("organism")
    examples = []
    for i in range(recipe.steps * recipe.batch_size):
        question = questions[i % len(questions)]
        answer = question.candidates[(question.answer + 1) % len(question.candidates)]
        row = encode(tokenizer, prompt_format("plain"), question, answer)
        examples.append(Example(question.id, answer, row.question_ids, row.answer_ids))
    return (lambda: load_model("organism")[0]), examples, recipe


if __name__ == "__main__":
    sys.exit(main())
