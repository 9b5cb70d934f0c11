"""Print the tables of docs/organism.md: modes, kinds of negatives, seeds, by step.

Run from the repository: `.venv/bin/python docs/scripts/organism_table.py --seeds 5`.
Everything goes through the commands that users run; about 15 s per kind and seed.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from critical_phase.probes import read_plan, read_scores

KINDS = ("near_miss", "irrelevant", "unrelated")
SHOWN = (0, 1, 2, 4, 8, 12, 16, 24, 32, 48, 64)
WINDOW = 16
PROBE = (sys.executable, "-c", "from critical_phase.cli import main; main()")


def probe(*arguments: object) -> None:
    """Run one command of the command line."""
    subprocess.run([*PROBE, *map(str, arguments)], check=True, stdout=sys.stderr)


def accuracy(scores: np.ndarray, question: np.ndarray, correct: np.ndarray) -> float:
    """Share of questions whose right candidate scores highest; NaN where all scores tie."""
    table = scores.reshape(question.max() + 1, -1)
    right = table[correct.reshape(table.shape)]
    if (table == table[:, :1]).all():
        return float("nan")
    best = table.max(axis=1)
    return float(np.mean((right == best) / (table == best[:, None]).sum(axis=1)))


def curves(run: Path) -> dict[str, np.ndarray]:
    """Read accuracy of every mode at steps 0 to 64."""
    plan = read_plan(run / "plan.csv")

    def scores(head: str, step: int) -> np.ndarray:
        return read_scores(run / f"scores/{head}/step-{step:08d}.h5").logprob_sum

    base = scores("base", 0)
    found: dict[str, list[float]] = {"sft": [], "likra": [], "base_likra": []}
    for step in range(65):
        positive, negative = scores("positive", step), scores("negative", step)
        combined = (positive, positive - negative, base - negative)
        for mode, one in zip(found, combined, strict=True):
            found[mode].append(accuracy(one, plan.question, plan.correct))
    return {mode: np.array(values) for mode, values in found.items()}


def one_run(folder: Path, kind: str, seed: int) -> dict[str, np.ndarray]:
    """Train, score and, for near misses, analyse one seed."""
    run = folder / f"{kind}-{seed}"
    probe("train", "--out", run, "--negatives", kind, "--seed", seed)
    probe("collect", run, "--scores-only")
    if kind == "near_miss":
        probe("analyze", run)
    return curves(run)


def rise(curve: np.ndarray) -> tuple[float, int]:
    """Return the largest rise within the window, and where it starts; step 0 is left out."""
    rises = curve[1 + WINDOW :] - curve[1:-WINDOW]
    start = int(np.argmax(rises))
    return float(rises[start]), start + 1


def print_table(results: dict[str, list[dict[str, np.ndarray]]]) -> None:
    """Print mean and standard error over seeds."""
    print("| mode | negatives |", " | ".join(map(str, SHOWN)), "|")
    print("|---|---|" + "---|" * len(SHOWN))
    rows = [("sft", "near_miss")]
    rows += [(mode, kind) for kind in KINDS for mode in ("likra", "base_likra")]
    for mode, kind in rows:
        table = np.array([seed[mode] for seed in results[kind]])[:, SHOWN]
        mean, error = table.mean(axis=0), table.std(axis=0, ddof=1) / np.sqrt(len(table))
        cells = [f"{m:.2f} ± {e:.2f}" for m, e in zip(mean, error, strict=True)]
        name = "(none)" if mode == "sft" else kind
        print(f"| {mode} | {name} |", " | ".join(c.replace("nan ± nan", "-") for c in cells), "|")


def print_rises(results: dict[str, list[dict[str, np.ndarray]]]) -> None:
    """Print the largest rise within 16 steps, its place, and the part from step 8 to 32."""
    print("\n| mode | rise of the mean curve | steps | of it in steps 8-32 | per seed |")
    print("|---|---|---|---|---|")
    for mode in ("likra", "base_likra"):
        table = np.array([seed[mode] for seed in results["near_miss"]])
        mean = table.mean(axis=0)
        size, start = rise(mean)
        inside = mean[min(start + WINDOW, 32)] - mean[max(start, 8)]
        seeds = ", ".join(f"{rise(one)[0]:.2f}" for one in table)
        print(f"| {mode} | {size:.2f} | {start}-{start + WINDOW} | {inside / size:.2f} | {seeds} |")


def print_sentences(folder: Path, count: int) -> None:
    """Print what the tool says about each seed."""
    print()
    for seed in range(count):
        path = folder / f"near_miss-{seed}" / "analysis" / "findings.json"
        print(f"- seed {seed}: {json.loads(path.read_text())['sentence']}")


def main() -> None:
    """Run all kinds and seeds, then print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/organism-table"))
    given = parser.parse_args()
    results = {
        kind: [one_run(given.out, kind, seed) for seed in range(given.seeds)] for kind in KINDS
    }
    print_table(results)
    print_rises(results)
    print_sentences(given.out, given.seeds)


if __name__ == "__main__":
    main()
