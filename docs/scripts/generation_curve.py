"""Print the curves of docs/generation.md: free answers of trained runs at a range of steps.

Run from the repository on runs of the organism that differ in their seed:
`.venv/bin/python docs/scripts/generation_curve.py runs/organism-0 runs/organism-1 ...`. Answers are
kept in the runs and read again, so it can be stopped at any time. Strengths are fixed here, and
nothing is chosen: all questions of the runs report.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t

from critical_phase.analysis.inference.bootstrap import question_weights
from critical_phase.analysis.interventions.training_time_place import crossings
from critical_phase.analysis.scores.curves import combine, top_hits
from critical_phase.checkpoints.organism_set import shipped_world
from critical_phase.cli.generate import generate_run
from critical_phase.cli.generate_cells import cells_of
from critical_phase.cli.generate_inputs import GenerateSettings, prepare
from critical_phase.cli.generate_work import Step, stored
from critical_phase.cli.loading import StoredRun
from critical_phase.cli.run_folder import open_run

STEPS = "0,4,8,12,16,20,24,28,32,48,64"
FEW = "0,4,8,12,16,24,32,64"
DRAWN: dict[str, Any] = {"sample": True, "plausibility": 0.0}
CONDITIONS: dict[str, dict[str, Any]] = {
    "drawn at temperature 1, every token allowed": {**DRAWN, "steps": STEPS, "alpha": (1.0,)},
    "the same, merged": {**DRAWN, "steps": FEW, "mode": ("merged",), "alpha": (0.5,)},
    "drawn at temperature 1, plausibility 0.1": {"sample": True, "steps": FEW, "alpha": (1.0,)},
    "likeliest tokens, behind the mark of an unreliable author": {
        "steps": FEW,
        "alpha": (1.0,),
        "before": shipped_world().marks[1],
    },
}
Curves = dict[str, np.ndarray]
"""By way: whether each answer is right [seed, step, question]."""


def answers(run: Path, settings: GenerateSettings) -> tuple[list[int], Curves]:
    """Make or read the answers of one run."""
    generate_run(run, settings)
    ready = prepare(run, settings)
    found: dict[str, list[np.ndarray]] = {}
    for number in ready.steps:
        step = Step(ready, settings, number)
        for cell in cells_of(ready, settings, number):
            made = stored(cell, step)
            assert made is not None
            found.setdefault(cell.name, []).append(made[0].right)
    return list(ready.steps), {name: np.array(lines) for name, lines in found.items()}


def chosen_answers(run: Path, steps: Sequence[int]) -> np.ndarray:
    """Read the multiple-choice hits of L+ - L- from the stored scores; NaN where all tie."""
    scored = StoredRun(open_run(run))
    mixed = combine(scored, "likra", 1.0)
    hits = top_hits(scored.rows, mixed.values).value
    at = [int(np.flatnonzero(mixed.steps == step)[0]) for step in steps]
    return np.asarray(hits[at])


def spread(table: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Return a mean over seeds and half its 95 % interval.

    The t interval over seeds and the bootstrap over questions, joined as a root of squares: the
    questions and the streams of the draws are the same in all seeds.

    Args:
        table: Values [seed, question].
        weights: Question resamples [draw, question].
    """
    seeds = table.mean(axis=1)
    count = len(seeds)
    over_seeds = t.ppf(0.975, count - 1) * seeds.std(ddof=1) / count**0.5 if count > 1 else 0.0
    over_questions = 1.96 * (weights @ table.mean(axis=0)).std()
    return float(seeds.mean()), float(np.hypot(over_seeds, over_questions))


def shown(table: np.ndarray, weights: np.ndarray, sign: str = "") -> str:
    """Write a mean with half its interval."""
    value, half = spread(table, weights)
    return f"{value:{sign}.3f} ± {half:.3f}"


def course(steps: Sequence[int], table: np.ndarray, rng: np.random.Generator) -> str:
    """Say where the mean curve makes its change, and how much of it between steps 16 and 32.

    Half way is where it crosses the middle of its first and last value for good. Intervals are of
    draws of seeds and of questions together [seed, step, question].
    """
    seeds, _, questions = table.shape
    picks = rng.integers(0, seeds, (1000, seeds))
    draws = [table.mean(axis=(0, 2))]
    for pick, weight in zip(picks, question_weights(questions, 1000, rng), strict=True):
        draws.append(table[pick].mean(axis=0) @ weight)
    lines = np.array(draws)
    whole = lines[:, -1] - lines[:, 0]
    if not (whole[1:] > 0).mean() > 0.975:
        return "no rise from the first to the last step"
    half = crossings(np.array(steps), lines, lines[:, 0], lines[:, -1])
    low, high = np.quantile(half[1:], [0.025, 0.975], method="nearest")
    at = [list(steps).index(step) for step in (16, 32)]
    part = (lines[:, at[1]] - lines[:, at[0]]) / whole
    least, most = np.quantile(part[1:], [0.025, 0.975])
    early = (lines[0, at[0]] - lines[0, 0]) / whole[0]
    return (
        f"half way at step {half[0]:.1f} [{low:.1f}, {high:.1f}]; of the change {early:.2f} up to"
        f" step 16, {part[0]:.2f} [{least:.2f}, {most:.2f}] from 16 to 32"
    )


def print_condition(about: str, steps: Sequence[int], found: Curves, chosen: np.ndarray) -> None:
    """Print one line per step, then where the gain over the base comes and how fast."""
    rng = np.random.default_rng(0)
    weights = question_weights(chosen.shape[2], 1000, rng)
    names = list(found)
    others = [name for name in names if name != "base"]
    heads = [*names, *(f"{name} - base" for name in others), "multiple choice"]
    print(f"\n**{about}**, {len(chosen)} seeds\n\n| step |", " | ".join(heads), "|")
    print("|---|" + "---|" * len(heads))
    for i, step in enumerate(steps):
        cells = [shown(found[name][:, i], weights) for name in names]
        cells += [shown((found[n] - found["base"])[:, i], weights, "+") for n in others]
        tied = np.isnan(chosen[:, i]).any()
        cells.append("ties" if tied else shown(chosen[:, i], weights))
        print(f"| {step} |", " | ".join(cells), "|")
    for name in others:
        gain = found[name] - found["base"]
        print(f"- {name} - base: {course(steps, gain, rng)}")
    first = list(steps).index(4)  # step 0 ties
    print(f"- multiple choice: {course(steps[first:], chosen[:, first:], rng)}")


def main() -> None:
    """Make or read the answers of every run, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument(
        "--further", type=int, default=3, help="runs of all conditions but the first"
    )
    given = parser.parse_args()
    for number, (about, values) in enumerate(CONDITIONS.items()):
        runs = given.runs if number == 0 else given.runs[: given.further]
        done = [answers(run, GenerateSettings(**values)) for run in runs]
        steps = done[0][0]
        found = {name: np.array([one[name] for _, one in done]) for name in done[0][1]}
        chosen = np.array([chosen_answers(run, steps) for run in runs])
        print_condition(about, steps, found, chosen)


if __name__ == "__main__":
    main()
