"""Tables of Fisher trace and sharpness: every checkpoint, peaks, and random adapters."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inference.bootstrap import interval, question_weights
from critical_phase.analysis.results import BOOTSTRAP, Table, column
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.updates.curvature_series import CurvatureSeries
from critical_phase.analysis.updates.llc_series import point_of
from critical_phase.analysis.updates.rise_and_fall import rise_and_fall


def steps_table(
    head: str, one: CurvatureSeries, weights: Float[np.ndarray, "draw question"]
) -> Table:
    """List every checkpoint with intervals and how well eigenvalues are known."""
    rows = [_step_row(one, place, weights) for place in range(one.steps.size)]
    columns = [
        column("step", "step"),
        column("fisher", "Fisher trace"),
        column("fisher_interval", "interval"),
        column("draws", "spread of draws", "sd over draws"),
        column("true", "gradient of the true answer, squared"),
        column("true_interval", "interval"),
        column("sharpness", "sharpness"),
        column("sharpness_interval", "interval"),
        column("residual", "worst residual"),
        column("scaled", "under Adam's scaling"),
        column("scaled_interval", "interval"),
        column("scaled_residual", "worst residual"),
    ]
    caption = (
        f"Fisher trace and gradient: {BOOTSTRAP}; sharpness: t interval over disjoint samples of"
        " training examples. Residual: |H v - value v| / |value| of the search that ended worst;"
        " an eigenvalue lies within that share of the value."
    )
    return Table(f"curvature.{head}", f"Fisher trace and sharpness, {head} head", caption, columns,
                 rows)  # fmt: skip


def _step_row(
    one: CurvatureSeries, place: int, weights: Float[np.ndarray, "draw question"]
) -> list[object]:
    draws = one.draws[place]
    row: list[object] = [int(one.steps[place])]
    row += _mean(one.fisher[place], weights)
    row.append(float(draws.std(ddof=1)) if draws.size > 1 else None)
    row += _mean(one.true_answer[place], weights)
    row += [*_top(one.sharpness[place]), _worst(one.residual[place])]
    return [*row, *_top(one.preconditioned[place]), _worst(one.preconditioned_residual[place])]


def _mean(
    values: Float[np.ndarray, " question"], weights: Float[np.ndarray, "draw question"]
) -> list[object]:
    """Return a mean over questions and its interval."""
    low, high = interval(weights @ values)
    return [float(values.mean()), [float(low), float(high)]]


def _top(samples: Float[np.ndarray, " sample"]) -> list[object]:
    """Return a mean over samples and its interval."""
    point = point_of(samples)
    if not np.isfinite(point.low):
        return [None, None]
    return [point.value, [float(point.low), float(point.high)]]


def _worst(residuals: Float[np.ndarray, " sample"]) -> float | None:
    kept = residuals[np.isfinite(residuals)]
    return float(kept.max()) if kept.size else None


def peak_table(found: Mapping[str, CurvatureSeries], settings: AnalysisSettings) -> Table:
    """Say of every head whether its Fisher trace rises and then falls."""
    rows: list[list[object]] = []
    for head, one in found.items():
        rng = np.random.default_rng([settings.seed, 13])
        peak = rise_and_fall(one.fisher, settings.draws, rng)
        if peak is None:
            rows.append([head, *[None] * 7, "too few questions or checkpoints"])
            continue
        steps = [int(one.steps[place]) for place in peak.places]
        ratios = [peak.rise, peak.rise_interval, peak.fall, peak.fall_interval]
        rows.append([head, *steps, *ratios, peak.word])
    columns = [
        column("head", "head", kind="text"),
        column("before", "low before, at step"),
        column("peak", "peak at step"),
        column("after", "low after, at step"),
        column("rise", "peak over low before"),
        column("rise_interval", "interval"),
        column("fall", "peak over low after"),
        column("fall_interval", "interval"),
        column("word", "what it is", kind="text"),
    ]
    caption = (
        "The peak that stands highest above the lows on both sides, chosen on one half of the"
        " questions and measured on the other. Rise then fall: both intervals lie above 1. A peak"
        " between two measured checkpoints is not seen, and a peak is no proof of a critical"
        " period: that takes a training that is disturbed there. One training run."
    )
    return Table("fisher_peak", "Does the Fisher trace rise and fall?", caption, columns, rows)


def control_table(found: Mapping[str, CurvatureSeries], settings: AnalysisSettings) -> Table:
    """Hold random adapters of the trained norms beside the trained ones."""
    rows: list[list[object]] = []
    for head, one in found.items():
        if one.random is None:
            continue
        rng = np.random.default_rng([settings.seed, 12])
        weights = question_weights(len(one.questions), settings.draws, rng)
        rows.append([head, "random adapter of equal norm", one.random.step,
                     *_mean(one.random.fisher, weights), *_top(one.random.sharpness)])  # fmt: skip
        at = np.flatnonzero(one.steps == one.random.step)
        if at.size:
            place = int(at[0])
            trained = [*_mean(one.fisher[place], weights), *_top(one.sharpness[place])]
            rows.append([head, "trained", one.random.step, *trained])
    columns = [
        column("head", "head", kind="text"),
        column("adapter", "adapter", kind="text"),
        column("step", "step"),
        column("fisher", "Fisher trace"),
        column("fisher_interval", "interval"),
        column("sharpness", "sharpness"),
        column("sharpness_interval", "interval"),
    ]
    caption = (
        "What weights of that size do by themselves: a random adapter has the trained norm in every"
        " module and has learnt nothing. A value near it owes little to what was learnt."
    )
    return Table("curvature_controls", "Random adapters beside the trained", caption, columns, rows)
