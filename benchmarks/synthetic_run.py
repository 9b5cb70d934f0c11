"""A run folder as `probe train` and `probe collect` leave it, of any size, without a model.

Files are written by the project's own writers; `probe validate` accepts them. Whole attention
patterns, which no measure reads, are left out.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from synthetic_size import Size, course
from synthetic_units import CANDIDATES, Writer, key_length

from critical_phase.atomic import write_text
from critical_phase.checkpoints import Question, list_series, write_questions
from critical_phase.checkpoints.training_log import LogRow, log_csv
from critical_phase.cli.run_folder import RunFolder, update_record
from critical_phase.probes import Plan, make_units, write_plan

BATCH, ALPHA = 8, 32
WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "islet", "jetty")


def make_run(folder: Path, size: Size) -> RunFolder:
    """Write a whole run."""
    run, rng = RunFolder(folder), np.random.default_rng(0)
    plan = make_rows(size, rng)
    folder.mkdir(parents=True)
    write_plan(plan, run.plan)
    write_questions(run.questions("eval"), questions_of(plan))
    lines = [["<s>", *("tok" for _ in range(n - 1))] for n in key_length(plan)]
    write_text(run.tokens, "".join(json.dumps(line) + "\n" for line in lines))
    for head in size.heads:
        write_adapters(run, head, size)
        write_text(run.head(head) / "log.csv", log_csv(log_rows(size, rng)))
    if size.base_weights:
        write_base(folder / "model", size)
    model = str(folder / "model") if size.base_weights else "synthetic"
    units = make_units({head: list_series(run.head(head)).checkpoints for head in size.heads})
    writer = Writer(run, plan, size)
    for unit in units:
        writer.write(unit)
    recipe = {"batch_size": BATCH}
    update_record(run, "", kind="run", model=model, recipe=recipe, warnings=[], seed=0)
    return run


def make_rows(size: Size, rng: np.random.Generator) -> Plan:
    """Make rows of random tokens; the longest has as many as there are keys."""
    questions = size.rows // CANDIDATES
    longest = max(1, size.keys // 5)
    answers = rng.integers(max(1, longest // 3), longest + 1, size.rows)
    stems = rng.integers(max(2, size.keys // 2), size.keys - longest + 1, questions)
    answers[0], stems[0] = longest, size.keys - longest
    right = rng.integers(0, CANDIDATES, questions)
    row = np.arange(size.rows)
    texts = [" ".join(rng.choice(WORDS, 3)) + f" {r}" for r in row]
    return Plan(
        question_ids=tuple(f"q{q:04d}" for q in range(questions)),
        groups=tuple(WORDS[q % 10] for q in range(questions)),
        question_texts=tuple(f"What is number {q}?" for q in range(questions)),
        prompts=tuple(tuple(rng.integers(3, 30000, n).tolist()) for n in stems),
        answers=tuple(tuple(rng.integers(3, 30000, n).tolist()) for n in answers),
        texts=tuple(texts),
        question=row // CANDIDATES,
        candidate=row % CANDIDATES,
        correct=row % CANDIDATES == right[row // CANDIDATES],
        prompt_format="plain",
    )


def questions_of(plan: Plan) -> list[Question]:
    found = []
    for q, (name, group) in enumerate(zip(plan.question_ids, plan.groups, strict=True)):
        mine = np.flatnonzero(plan.question == q)
        texts, right = tuple(plan.texts[r] for r in mine), int(np.argmax(plan.correct[mine]))
        found.append(Question(name, plan.question_texts[q], texts, right, group))
    return found


def log_rows(size: Size, rng: np.random.Generator) -> Iterable[LogRow]:
    noise = np.exp(0.1 * rng.standard_normal((2, size.checkpoints)))
    return [
        LogRow(t, t * BATCH, float(2 * np.exp(-t / 20) * noise[0, t]), 1e-4, float(noise[1, t]), 80)
        for t in range(1, size.checkpoints)
    ]


def write_adapters(run: RunFolder, head: str, size: Size) -> None:
    """Write the adapters of one head: A drifts, B grows along two directions and wanders."""
    random = torch.Generator().manual_seed(sum(map(ord, head)))
    layers = size.layers if size.adapted_layers is None else size.adapted_layers
    shapes = {f"model.layers.{i}.{n}": s for i in range(layers) for n, s in size.modules.items()}
    down = {
        n: torch.randn(size.rank, s[1], generator=random) / s[1] ** 0.5 for n, s in shapes.items()
    }
    up = {n: torch.randn(2, s[0], size.rank, generator=random) / 100 for n, s in shapes.items()}
    walk = {n: torch.zeros(s[0], size.rank) for n, s in shapes.items()}
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": size.rank, "lora_alpha": ALPHA,
        "bias": "none", "use_dora": False, "use_rslora": False, "lora_bias": False,
        "target_modules": sorted({n.rsplit(".", 1)[1] for n in shapes}),
        "base_model_name_or_path": "synthetic",
    }  # fmt: skip
    for step in range(size.checkpoints):
        drift, jump = course(size, step)
        tensors = {}
        for name in shapes:
            if step:
                walk[name] += torch.randn(walk[name].shape, generator=random) / 2000
            b = drift * up[name][0] + jump * up[name][1] + walk[name]
            key = f"base_model.model.{name}.lora"
            tensors[f"{key}_A.weight"] = (down[name] * (1 + 0.1 * drift)).to(size.adapter_dtype)
            tensors[f"{key}_B.weight"] = b.to(size.adapter_dtype)
        folder = run.head(head) / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        save_file(tensors, folder / "adapter_model.safetensors")
        write_text(folder / "adapter_config.json", json.dumps(config, indent=1))


def write_base(folder: Path, size: Size) -> None:
    """Write the weights of one layer; names without a layer's number fit every layer."""
    random = torch.Generator().manual_seed(9)
    made = {
        f"{n}.weight": (torch.randn(s, generator=random) / s[1] ** 0.5).bfloat16()
        for n, s in size.modules.items()
    }
    folder.mkdir()
    save_file(made, folder / "model.safetensors")
    write_text(folder / "config.json", json.dumps({"model_type": "llama"}))
