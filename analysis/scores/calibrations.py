"""Measure `calibration`: whether confidence keeps up with accuracy over training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.charts import curve, numbers
from critical_phase.analysis.inference.bootstrap import centred_interval, shared_weights
from critical_phase.analysis.inputs import Rows, RunArrays, check_rows, question_count
from critical_phase.analysis.results import Curve, MeasureResult, Table, column
from critical_phase.analysis.scores.calibration import (
    Confidence,
    brier,
    calibration_error,
    confidence,
    error_draws,
    expected_error,
    log_option_mass,
)
from critical_phase.analysis.scores.curves import (
    ModeScores,
    available_modes,
    base_scores,
    combine,
    primary_mode,
    sorted_scores,
    top_hits,
)
from critical_phase.analysis.series import question_series
from critical_phase.analysis.settings import AnalysisSettings

ABOUT = (
    "The combined score turned into probabilities of the options (softmax), and how well they fit"
    " what is right. Accuracy can rise while confidence runs ahead of it: a score that subtracts"
    " one head from another is no probability by design."
)

BINS = 10

CENTRED = "95 % question bootstrap, centred on the value"
"""Interval of a quantity that resampling pushes upwards."""

CAPTIONS = {
    "brier": "Mean squared distance of the option probabilities to the truth: 0 is sure and right,"
    " 2 sure and wrong. The level line is what equal scores give.",
    "error": "Mean gap between the probability of the chosen option and how often it is right, over"
    f" {BINS} bins. “if calibrated” is the error that perfect calibration would show on average"
    " with as many questions; twice as much still happens by chance.",
    "mass": "Log of the probability that one head gives to all options of a question together, mean"
    " over questions. It says how much of the model's probability is on this format at all; more"
    " mass is not more accuracy.",
}


@dataclass(frozen=True, slots=True)
class _Mode:
    """The scores of one mode with their confidence."""

    scores: ModeScores
    found: Confidence


def calibration(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Compute Brier score, calibration error and option mass over training.

    Args:
        arrays: The run.
        settings: Modes, weight and resampling sizes.
        done: Results of earlier measures; not needed here.

    Returns:
        Curves, and the bins of the calibration error at the last step.
    """
    check_rows(arrays.rows)
    weights = shared_weights(question_count(arrays.rows), settings)
    modes = []
    for name in available_modes(arrays.heads, settings.modes):
        scores = _defined(arrays.rows, combine(arrays, name, settings.weight))
        modes.append(_Mode(scores, confidence(arrays.rows, scores.values)))
    first = primary_mode(arrays.heads, settings.modes)
    lines = [c for mode in modes for c in _curves(mode, arrays, weights)]
    lines += [_expected(mode, arrays) for mode in modes if mode.scores.mode == first]
    lines += _mass(arrays, weights)
    return MeasureResult(
        "calibration",
        "Calibration",
        ABOUT,
        "expected calibration error 1706.04599; option mass 2305.14596",
        {"bins": BINS, "weight": settings.weight, "draws": settings.draws},
        curves=tuple(lines),
        tables=(_bins(arrays, modes),),
    )


def _defined(rows: Rows, scores: ModeScores) -> ModeScores:
    """Leave out steps at which every question has all scores equal, as accuracy does."""
    kept = np.isfinite(top_hits(rows, scores.values).value).all(axis=1)
    return ModeScores(scores.mode, scores.steps[kept], scores.values[kept])


def _curves(
    mode: _Mode, arrays: RunArrays, weights: Float[np.ndarray, "draw question"]
) -> list[Curve]:
    """Draw Brier score and calibration error of one mode."""
    rows, name, steps = arrays.rows, mode.scores.mode, mode.scores.steps
    one = question_series(
        f"brier.{name}", f"Brier score, {name}", "squared distance", "accuracy", steps,
        brier(rows, mode.scores.values), mode=name,
    )  # fmt: skip
    equal = float(np.mean(1 - 1 / np.bincount(rows.question)))
    drawn = curve(
        one, weights, arrays.batch_size, group="brier", label=name, caption=CAPTIONS["brier"],
        references=[{"label": "equal scores", "value": equal}],
    )  # fmt: skip
    value = error_draws(mode.found, np.full((1, rows.question[-1] + 1), 1 / question_count(rows)))
    band = centred_interval(value[0], error_draws(mode.found, weights))
    return [drawn, _error_curve(name, name, steps, value[0], band, arrays)]


def _expected(mode: _Mode, arrays: RunArrays) -> Curve:
    """Draw what the calibration error of the primary mode would be if it were calibrated."""
    value = expected_error(mode.found.value, BINS)
    name = mode.scores.mode
    return _error_curve("expected", f"{name} if calibrated", mode.scores.steps, value, None, arrays)


def _error_curve(
    name: str,
    label: str,
    steps: Int[np.ndarray, " step"],
    value: Float[np.ndarray, " step"],
    band: tuple[np.ndarray, np.ndarray] | None,
    arrays: RunArrays,
) -> Curve:
    """Draw a calibration error, which is no mean over questions and has its own interval."""
    return Curve(
        f"calibration_error.{name}",
        f"Calibration error, {label}",
        "share",
        "calibration_error",
        label,
        [int(s) for s in steps],
        [int(s) * arrays.batch_size for s in steps],
        numbers(value),
        CAPTIONS["error"],
        question_count(arrays.rows),
        mode=None if band is None else name,
        low=None if band is None else numbers(band[0]),
        high=None if band is None else numbers(band[1]),
        interval=None if band is None else CENTRED,
    )


def _mass(arrays: RunArrays, weights: Float[np.ndarray, "draw question"]) -> list[Curve]:
    """Draw the log mass on the options under every head, with the base as level line."""
    base = float(np.mean(log_option_mass(arrays.rows, base_scores(arrays))))
    drawn = []
    for head in arrays.heads:
        steps, scores = sorted_scores(arrays, head)
        one = question_series(
            f"option_mass.{head}", f"Probability on the options (log), {head} head", "nats",
            "margin", steps, log_option_mass(arrays.rows, scores), head=head,
        )  # fmt: skip
        drawn.append(
            curve(one, weights, arrays.batch_size, group="option_mass", label=head,
                  caption=CAPTIONS["mass"], references=[{"label": "base", "value": base}])
        )  # fmt: skip
    return drawn


def _bins(arrays: RunArrays, modes: Sequence[_Mode]) -> Table:
    """List the bins of the calibration error: the base, and every mode at its last step."""
    given = [("base", 0, base_scores(arrays))]
    given += [(m.scores.mode, int(m.scores.steps[-1]), m.scores.values[-1]) for m in modes
              if m.scores.steps.size]  # fmt: skip
    rows: list[list[object]] = []
    for name, step, values in given:
        found = calibration_error(arrays.rows, values, BINS)
        rows += [
            [name, step, float(found.edges[i]), float(found.edges[i + 1]), int(count),
             float(found.confidence[i]), float(found.accuracy[i])]
            for i, count in enumerate(found.questions) if count
        ]  # fmt: skip
    columns = [
        column("mode", "score", kind="text"),
        column("step", "step"),
        column("low", "probability above", "share"),
        column("high", "up to", "share"),
        column("questions", "questions"),
        column("confidence", "mean probability", "share"),
        column("accuracy", "accuracy", "share"),
    ]
    caption = (
        "Questions by the probability of the option that scores highest; calibrated means that"
        " mean probability and accuracy are equal. Empty bins are left out."
    )
    return Table("bins", "Confidence against accuracy at the last step", caption, columns, rows)
