"""Seconds per probe: leave-one-question-out ridge against LogisticRegressionCV of scikit-learn.

ours     7 penalties, every question held out in turn (500 fits each), exact: one eigenvectors
         problem per cell; with_null adds 200 permuted labellings, the best penalty in each
sklearn  LogisticRegressionCV, lbfgs, its default grid of 10 C, 5 folds that keep questions whole
         (GroupKFold, given explicitly: its default folds would tear questions apart), up to
         1000 iterations so that it converges; capped is the same at its default of 100, coarse
         the same with 4 C
folds    ours on the very folds of sklearn, not timed: held out one by one, every question is
         predicted from 499 others, in 5 folds from 400, which costs accuracy

A cell is one layer at one checkpoint: 500 questions of 4 candidates, centred within questions,
float32, variances falling as i^-1.5 as in the organism's hidden states (1.3 to 1.8 there), and
a planted direction, as spread over the axes as
the noise, whose strength depends on layer and checkpoint. Cells are drawn from the
grid of 32 layers x 65 checkpoints. Sides take turns in one process; process CPU time. `ratio` is
seconds of sklearn over all drawn cells by ours, which is what a loop over the grid would see;
`with_null_extrapolated` sets 201 times sklearn's seconds against ours with 200 permutations.
Top-1 within questions on held-out questions, the best penalty (the best C) of each side; gaps
are ours minus theirs, in binomial standard errors of 500 questions.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
from dataclasses import dataclass
from typing import Any

import numpy as np
from timing import about_machine, parser, report, settle, take_turns

from critical_phase.analysis import planted_run
from critical_phase.analysis.inputs import Rows
from critical_phase.analysis.probing.linear_probe import (
    PENALTIES,
    expected_hits,
    loqo_predictions,
    rotate,
    within_centred,
)
from critical_phase.analysis.probing.prober import Prober
from critical_phase.analysis.probing.question_blocks import choices, contrasts, groups_of

QUESTIONS, LAYERS, STEPS, FOLDS = 500, 32, 65, 5
DECAY = 1.5
"""Exponent of the variances, largest first."""
PERMUTATIONS = 200
SIDES = {"sklearn": (10, 1000), "capped": (10, 100), "coarse": (4, 1000)}
"""Number of C and most iterations of scikit-learn."""


@dataclass(frozen=True)
class Cell:
    layer: int
    step: int
    x: np.ndarray


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--widths", default="", help="widths, as in 512,4096")
    arguments = asked.parse_args()
    settle()
    widths = arguments.widths or ("128,512" if arguments.quick else "512,4096")
    cells = arguments.rounds or (3 if arguments.quick else 8)
    result = measure([int(one) for one in widths.split(",")], cells, quick=arguments.quick)
    report(result, line, as_json=arguments.json)


def line(row: dict[str, Any]) -> str:
    return (
        f"d={row['width']:5} {row['side']:10} {row['cpu_s']:9.3f} s CPU a cell"
        f"   {row['peak_mib']:7.0f} MiB   top-1 {row['top1']}"
    )


def measure(widths: list[int], count: int, *, quick: bool) -> dict[str, Any]:
    rows = planted_run("flat", np.random.default_rng(0), questions=QUESTIONS, width=0).rows
    found = [compare(rows, width, count) for width in widths]
    ratios: dict[str, float] = {}
    for width, one in zip(widths, found, strict=True):
        ratios |= {f"{name}_{width}": value for name, value in one["ratios"].items()}
    speed = [ratios[f"vs_sklearn_{width}"] for width in widths]
    return {
        "schema_version": 1,
        "name": "probes",
        "ratios": {"vs_sklearn": min(speed), **ratios},
        "rows": [row for one in found for row in one["rows"]],
        "cells": [cell for one in found for cell in one["cells"]],
        "on_equal_folds": [one["top1_on_equal_folds"] for one in found],
        "questions": QUESTIONS,
        "penalties": list(PENALTIES),
        "drawn_cells": count,
        **about_machine(),
        "quick": quick,
    }


def compare(rows: Rows, width: int, count: int) -> dict[str, Any]:
    rng = np.random.default_rng([1, width])
    basis = directions(width, rng)
    cells = [draw(rows, basis, rng) for _ in range(count + 1)]  # the first one warms up
    groups = groups_of(rows)
    right = choices(groups, rows.correct.astype(np.float64))
    prober = Prober(rows, PERMUTATIONS, rng)
    splits = whole_questions(rows)
    top1: dict[str, list[float]] = {name: [] for name in ("ours", "with_null", "folds", *SIDES)}

    def ours(at: int) -> None:
        x = cells[at].x
        guess = loqo_predictions(rotate(contrasts(groups, x), len(x)), groups, right)
        top1["ours"].append(float(expected_hits(guess, groups, right).mean(axis=1).max()))

    def with_null(at: int) -> None:
        probe = prober.probe(cells[at].x)
        top1["with_null"].append(float("nan") if probe is None else float(probe.top1.mean()))

    def theirs(name: str, at: int) -> None:
        top1[name].append(logistic_path(rows, cells[at].x, splits, *SIDES[name]))

    sides = {"ours": ours, "with_null": with_null} | {
        name: (lambda at, name=name: theirs(name, at)) for name in SIDES
    }
    times, peaks = take_turns(sides, count)
    top1["folds"] = [ridge_path(rows, cell.x, splits) for cell in cells]
    gaps, same = (
        [in_errors(a, b) for a, b in zip(top1[name][1:], top1["sklearn"][1:], strict=True)]
        for name in ("ours", "folds")
    )
    return {
        "ratios": {
            "vs_sklearn": sum(times["sklearn"]) / sum(times["ours"]),
            "vs_sklearn_median": statistics.median(
                a / b for a, b in zip(times["sklearn"], times["ours"], strict=True)
            ),
            "vs_sklearn_capped": sum(times["capped"]) / sum(times["ours"]),
            "vs_sklearn_coarse": sum(times["coarse"]) / sum(times["ours"]),
            "with_null_extrapolated": (1 + PERMUTATIONS)
            * sum(times["sklearn"])
            / sum(times["with_null"]),
            "lowest_gap_in_standard_errors": min(gaps),
            "highest_gap_in_standard_errors": max(gaps),
            "share_of_cells_within_one_standard_error": float(np.mean(np.abs(gaps) <= 1)),
            "share_of_cells_not_lower": float(np.mean(np.array(gaps) >= -1)),
            "mean_gap": float(np.mean(gaps)),
            "mean_gap_on_equal_folds": float(np.mean(same)),
            "share_within_one_on_equal_folds": float(np.mean(np.abs(same) <= 1)),
        },
        "rows": [
            {
                "width": width,
                "side": name,
                "cpu_s": statistics.mean(times[name]),
                "peak_mib": max(peaks[name]),
                "top1": [round(value, 3) for value in top1[name][1:]],
            }
            for name in sides
        ],
        "top1_on_equal_folds": {"width": width, "top1": top1["folds"][1:]},
        "cells": [{"width": width, "layer": cell.layer, "step": cell.step} for cell in cells[1:]],
    }


def in_errors(ours: float, theirs: float) -> float:
    """Ours minus theirs, in standard errors of an accuracy."""
    level = (ours + theirs) / 2
    return (ours - theirs) / float(np.sqrt(max(level * (1 - level), 1e-9) / QUESTIONS))


def directions(width: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spread of the axes, two random sign patterns that mix them, and the planted direction."""
    spread = (1.0 + np.arange(width)) ** (-DECAY / 2)
    spread /= np.sqrt((spread**2).mean())
    planted = spread * rng.normal(size=width)  # as the noise: every axis tells equally much
    return (
        spread.astype(np.float32),
        rng.choice([-1.0, 1.0], size=(2, width)).astype(np.float32),
        (planted / np.linalg.norm(planted / spread)).astype(np.float32),
    )


def draw(
    rows: Rows, basis: tuple[np.ndarray, np.ndarray, np.ndarray], rng: np.random.Generator
) -> Cell:
    """States of one layer and checkpoint: the direction is written late, in middle layers."""
    from scipy.fft import dct

    spread, signs, planted = basis
    layer, step = int(rng.integers(LAYERS)), int(rng.integers(STEPS))
    strength = 0.3 + 4.0 * np.exp(-(((layer - 18) / 7) ** 2)) / (1 + np.exp(-(step - 24) / 3))
    x = rng.standard_normal((rows.question.size, spread.size), dtype=np.float32) * spread
    x += np.float32(strength) * rows.correct[:, None] * planted
    for sign in signs:  # a random rotation, quick at any width
        x = dct(x * sign, norm="ortho", axis=1)
    x = within_centred(rows, x)
    return Cell(layer, step, np.asarray(x / x.std(axis=0), dtype=np.float32))


def whole_questions(rows: Rows) -> list[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import GroupKFold

    places = np.zeros((rows.question.size, 1))
    return list(GroupKFold(FOLDS).split(places, groups=rows.question))


def logistic_path(
    rows: Rows, x: np.ndarray, splits: list[tuple[np.ndarray, np.ndarray]], grid: int, most: int
) -> float:
    """Fit the path and return the best top-1 over C on held-out questions."""
    from sklearn.linear_model import LogisticRegressionCV

    fitted = LogisticRegressionCV(
        Cs=grid, cv=splits, max_iter=most, scoring="accuracy", use_legacy_attributes=True
    ).fit(x, rows.correct)
    paths = fitted.coefs_paths_[True]
    scores = np.empty((paths.shape[1], len(x)))
    for (_, held), path in zip(splits, paths, strict=True):
        scores[:, held] = path[:, :-1] @ x[held].T
    return best_top1(rows, scores)


def ridge_path(rows: Rows, x: np.ndarray, splits: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Fit our probe on each fold the slow way and return the best top-1 over penalties."""
    scores = np.empty((len(PENALTIES), len(x)))
    for trained, held in splits:
        own, aim = x[trained].astype(np.float64), rows.correct[trained] - 1 / 4
        power, axes = np.linalg.eigh(own @ own.T)
        scale, turned = power.sum() / len(own), axes.T @ aim
        across = x[held] @ (own.T @ axes)
        for at, penalty in enumerate(PENALTIES):
            scores[at, held] = across @ (turned / (power + penalty * scale))
    return best_top1(rows, scores)


def best_top1(rows: Rows, scores: np.ndarray) -> float:
    """Highest share of questions whose right candidate scores highest, over all settings."""
    best = scores.reshape(len(scores), QUESTIONS, -1).argmax(axis=2)
    right = rows.correct.reshape(QUESTIONS, -1).argmax(axis=1)
    return float((best == right).mean(axis=1).max())


if __name__ == "__main__":
    main()
