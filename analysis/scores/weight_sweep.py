"""Measure `weight_sweep`: accuracy as the weight of the subtracted head goes from 0 to 1.5.

Reference: 2503.14391 (weight sweep of Likra and of base-Likra).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.charts import numbers
from critical_phase.analysis.inference.accuracy_interval import JOINED, accuracy_band
from critical_phase.analysis.inference.bootstrap import interval, shared_weights
from critical_phase.analysis.inputs import Rows, RunArrays, check_rows, question_count
from critical_phase.analysis.results import BOOTSTRAP, Curve, Map, MeasureResult, Table, column
from critical_phase.analysis.scores.curves import (
    available_modes,
    base_scores,
    sorted_scores,
    top_hits,
)
from critical_phase.analysis.settings import AnalysisSettings

ABOUT = (
    "Accuracy of L+ - w L- (likra) and of L0 - w L- (base_likra) for weights w from 0 to 1.5. At"
    " w = 0 the negative head does not count. Below 1 the base's own preference stays in the score,"
    " so a negative head that only grows looks like a jump there; at w = 1 and with the base as the"
    " first term its size does not matter."
)

CAUTION = (
    "The best weight is chosen on the same questions that its accuracy is read from, so that"
    " accuracy flatters; the interval says how far the choice depends on the questions."
)

WEIGHTS = tuple(round(0.1 * i, 1) for i in range(16))
"""Weights of the subtracted head that are tried."""

MOST_STEPS = 12
"""Checkpoints at which weights are tried, log-spaced, the last among them."""

SWEPT = {"likra": "positive", "base_likra": "base"}
"""Modes with a weight on the negative head, and the first term of each."""


@dataclass(frozen=True, slots=True)
class Best:
    """The weight with the highest accuracy at one step."""

    weight: float
    interval: tuple[float, float]
    accuracy: float


@dataclass(frozen=True, slots=True)
class _Sweep:
    """Whether each question is right, for every weight and chosen step of one mode."""

    mode: str
    steps: Int[np.ndarray, " step"]
    hits: Float[np.ndarray, "weight step question"]


def weight_sweep(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Compute accuracy over weights and the best weight with its interval.

    Args:
        arrays: The run.
        settings: Modes, the weight of the analysis, resampling sizes.
        done: Results of earlier measures; not needed here.

    Returns:
        A map of accuracy over weights and steps, and the best weight over steps.
    """
    check_rows(arrays.rows)
    weights = shared_weights(question_count(arrays.rows), settings)
    names = [m for m in available_modes(arrays.heads, settings.modes) if m in SWEPT]
    sweeps = [_sweep(arrays, name) for name in names]
    best = {s.mode: [best_weight(s.hits[:, i], weights) for i in range(s.steps.size)]
            for s in sweeps}  # fmt: skip
    return MeasureResult(
        "weight_sweep",
        "Weight of the negative head",
        ABOUT,
        "2503.14391",
        {"weights": list(WEIGHTS), "weight": settings.weight, "draws": settings.draws},
        _notes(sweeps),
        tuple(_best_curve(s, best[s.mode], arrays) for s in sweeps if s.steps.size),
        tuple(_map(s, weights) for s in sweeps if s.steps.size),
        (_table(sweeps, best, weights, settings.weight),) if sweeps else (),
    )


def weight_hits(
    rows: Rows,
    plus: Float[np.ndarray, "step row"],
    minus: Float[np.ndarray, "step row"],
    weights: Sequence[float] = WEIGHTS,
) -> Float[np.ndarray, "weight step question"]:
    """Say for every weight whether plus - weight * minus ranks the right answer first.

    Args:
        rows: The candidates.
        plus: Scores of the first term.
        minus: Scores of the subtracted head.
        weights: Weights to try.

    Returns:
        As `top_hits`: ties count their share; NaN where all scores of a step are equal.
    """
    return np.stack([top_hits(rows, plus - weight * minus).value for weight in weights])


def best_weight(
    hits: Float[np.ndarray, "weight question"],
    draws: Float[np.ndarray, "draw question"],
    weights: Sequence[float] = WEIGHTS,
) -> Best:
    """Return the weight of highest accuracy, with its interval over resampled questions.

    Of weights that are equally good the middle one is taken, in every resample too. A
    weight at which accuracy is undefined is never the best.
    """
    kept = np.isfinite(hits).all(axis=1)
    grid = np.asarray(weights, dtype=np.float64)[kept]
    accuracy = hits[kept].mean(axis=1)
    low, high = interval(_middle_best(draws @ hits[kept].T, grid))
    return Best(
        float(_middle_best(accuracy[None], grid)[0]),
        (float(low), float(high)),
        float(accuracy.max()),
    )


def log_spaced(steps: Int[np.ndarray, " step"], most: int) -> Int[np.ndarray, " _chosen"]:
    """Choose at most `most` places among trained steps, evenly on a log scale, the last kept."""
    trained = np.flatnonzero(steps > 0)
    if trained.size <= most:
        return trained
    aims = np.geomspace(steps[trained[0]], steps[-1], most)
    return np.unique([trained[np.argmin(np.abs(steps[trained] - aim))] for aim in aims])


def _middle_best(
    accuracy: Float[np.ndarray, "draw weight"], grid: Float[np.ndarray, " weight"]
) -> Float[np.ndarray, " draw"]:
    """Return the middle of the best weights of every draw; rounding makes no best."""
    top = accuracy >= accuracy.max(axis=1, keepdims=True) - 1e-12
    order = np.cumsum(top, axis=1)
    middle = np.argmax(order >= (order[:, -1:] + 1) // 2, axis=1)
    chosen: np.ndarray = grid[middle]
    return chosen


def _sweep(arrays: RunArrays, mode: str) -> _Sweep:
    """Try all weights at the chosen steps of one mode."""
    steps, minus = sorted_scores(arrays, "negative")
    if SWEPT[mode] == "base":
        plus = np.broadcast_to(base_scores(arrays), minus.shape)
    else:
        there, plus = sorted_scores(arrays, SWEPT[mode])
        steps, at, other = np.intersect1d(there, steps, return_indices=True)
        plus, minus = plus[at], minus[other]
    chosen = log_spaced(steps, MOST_STEPS)
    return _Sweep(mode, steps[chosen], weight_hits(arrays.rows, plus[chosen], minus[chosen]))


def _map(sweep: _Sweep, weights: Float[np.ndarray, "draw question"]) -> Map:
    """Show accuracy by weight and step."""
    bands = [accuracy_band(one, weights) for one in sweep.hits]
    return Map(
        f"weight_accuracy.{sweep.mode}",
        f"Accuracy by weight of the negative head, {sweep.mode}",
        "share of questions",
        None,
        "weight",
        [f"w = {weight:g}" for weight in WEIGHTS],
        [int(s) for s in sweep.steps],
        [numbers(one.mean(axis=1)) for one in sweep.hits],
        False,
        None,
        "At w = 0 the first term alone decides.",
        "Rows are weights w of the subtracted head, columns checkpoints (log-spaced).",
        sweep.hits.shape[2],
        JOINED,
        [numbers(low) for low, _ in bands],
        [numbers(high) for _, high in bands],
    )


def _best_curve(sweep: _Sweep, best: Sequence[Best], arrays: RunArrays) -> Curve:
    """Draw the best weight over training."""
    return Curve(
        f"best_weight.{sweep.mode}",
        f"Best weight of the negative head, {sweep.mode}",
        "weight w",
        "best_weight",
        sweep.mode,
        [int(s) for s in sweep.steps],
        [int(s) * arrays.batch_size for s in sweep.steps],
        [one.weight for one in best],
        f"The weight of highest accuracy, of {WEIGHTS[0]:g} to {WEIGHTS[-1]:g}; the middle one"
        f" where several are equally good. {CAUTION}",
        sweep.hits.shape[2],
        mode=sweep.mode,
        low=[one.interval[0] for one in best],
        high=[one.interval[1] for one in best],
        interval=BOOTSTRAP,
    )


def _table(
    sweeps: Sequence[_Sweep],
    best: Mapping[str, Sequence[Best]],
    draws: Float[np.ndarray, "draw question"],
    used: float,
) -> Table:
    """Compare the best weight with the weight of the analysis, step by step."""
    rows: list[list[object]] = []
    for sweep in sweeps:
        for i, found in enumerate(best[sweep.mode]):
            at = int(np.argmin(np.abs(np.array(WEIGHTS) - found.weight)))
            near = int(np.argmin(np.abs(np.array(WEIGHTS) - used)))
            gain = sweep.hits[at, i] - sweep.hits[near, i]
            low, high = interval(draws @ gain)
            rows.append([
                sweep.mode, int(sweep.steps[i]), found.weight, list(found.interval),
                found.accuracy, WEIGHTS[near], float(sweep.hits[near, i].mean()),
                float(gain.mean()), [float(low), float(high)],
            ])  # fmt: skip
    columns = [
        column("mode", "score", kind="text"),
        column("step", "step"),
        column("best", "best weight"),
        column("best_interval", "interval of the weight"),
        column("accuracy", "its accuracy", "share"),
        column("used", "weight compared with"),
        column("used_accuracy", "accuracy with that", "share"),
        column("gain", "gain of the best", "share"),
        column("gain_interval", "interval of the gain"),
    ]
    said = "" if used in WEIGHTS else f", the nearest tried to {used:g}"
    caption = (
        f"Compared with the weight of this analysis{said}; 95 % over questions, paired. {CAUTION}"
        " The interval of the gain does not make up for the choice."
    )
    return Table("best_weight", "Best weight", caption, columns, rows)


def _notes(sweeps: Sequence[_Sweep]) -> tuple[str, ...]:
    """Say what could not be swept."""
    if not sweeps:
        return ("no negative head was trained, so no weight can be varied",)
    return tuple(
        f"{sweep.mode}: no trained checkpoint has scores of both terms"
        for sweep in sweeps
        if not sweep.steps.size
    )
