"""Print the table of docs/real_input.md: BLiMP on a pretrained 260k-parameter Llama.

Run from the repository with CRITICAL_PHASE_SHARED naming the folder that holds the
model and the questions: `.venv/bin/python docs/scripts/blimp_table.py --seeds 3`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from critical_phase.probes import read_plan, read_scores

STEPS = (0, 8, 16, 32, 48, 64)
MODES = ("base", "sft", "likra", "base_likra")


def accuracies(run: Path, step: int) -> dict[str, float]:
    """Share of pairs whose right sentence scores higher, by mode; ties count half."""
    plan = read_plan(run / "plan.csv")

    def scores(head: str, at: int) -> np.ndarray:
        return read_scores(run / f"scores/{head}/step-{at:08d}.h5").logprob_sum

    base = scores("base", 0)
    positive, negative = scores("positive", step), scores("negative", step)
    combined = (base, positive, positive - negative, base - negative)

    def accuracy(score: np.ndarray) -> float:
        right, wrong = score[plan.correct], score[~plan.correct]
        return float(np.mean((right > wrong) + 0.5 * (right == wrong)))

    return {mode: accuracy(score) for mode, score in zip(MODES, combined, strict=True)}


def one_seed(seed: int, shared: Path, folder: Path) -> dict[int, dict[str, float]]:
    """Train both heads with one seed and score every test pair."""
    probe = [sys.executable, "-c", "from critical_phase.cli import main; main()"]
    run = folder / f"seed-{seed}"
    train = [
        *("train", "--out", run, "--model", shared / "models/stories260k"),
        *("--questions", shared / "data/blimp_train.jsonl"),
        *("--eval-questions", shared / "data/blimp_test.jsonl"),
        *("--equal-candidates", "drop", "--lr", "1e-3", "--seed", seed),
    ]
    collect = ["collect", run, "--scores-only", "--checkpoints", ",".join(map(str, STEPS))]
    for arguments in (train, collect):
        subprocess.run([*probe, *map(str, arguments)], check=True, stdout=sys.stderr)
    return {step: accuracies(run, step) for step in STEPS}


def main() -> None:
    """Print mean and standard error over seeds as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    count = parser.parse_args().seeds
    shared = Path(os.environ.get("CRITICAL_PHASE_SHARED", "../shared")).resolve()
    with tempfile.TemporaryDirectory() as folder:
        seeds = [one_seed(seed, shared, Path(folder)) for seed in range(count)]
    print("| step | examples |", " | ".join(MODES), "|")
    print("|---|---|" + "---|" * len(MODES))
    for step in STEPS:
        cells = []
        for mode in MODES:
            values = np.array([seed[step][mode] for seed in seeds])
            error = values.std(ddof=1) / np.sqrt(count) if count > 1 else float("nan")
            cells.append(f"{values.mean():.3f} ± {error:.3f}")
        print(f"| {step} | {step * 8} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
