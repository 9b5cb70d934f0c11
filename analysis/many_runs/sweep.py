"""Accuracies of one run as a sweep compares them, and means over seeds.

Two kinds of standard error are kept apart everywhere: over questions (which questions were
asked, one training) and over seeds (which training, the same questions).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import isotonic_regression

from critical_phase.analysis.inference.bootstrap import curve_draws, interval
from critical_phase.analysis.inputs import Rows
from critical_phase.analysis.scores.curves import ModeScores, top_hits
from critical_phase.analysis.scores.normalisation import normalise

WEIGHTS = tuple(k / 10 for k in range(16))
"""Weights of the subtracted head: 0, 0.1, ..., 1.5."""

MILESTONES = (0, 8, 16, 32, 64, 128, 256, 512)
"""Numbers of examples at which tables show accuracies."""


STILL = 0.1
"""Share of a rise which, made in the last quarter of the training, means that it goes on."""


@dataclass(frozen=True, slots=True)
class AccuracyCurve:
    """Accuracy of one mode over the steps of one run."""

    steps: Int[np.ndarray, " step"]
    accuracy: Float[np.ndarray, " step"]
    """Share of questions; NaN where no question's candidates are told apart."""
    standard_error: Float[np.ndarray, " step"]
    """Over questions; NaN where the accuracy is."""
    tied: Int[np.ndarray, " step"]
    """Questions with some candidates tied at the top."""
    undefined: Int[np.ndarray, " step"]
    """Questions whose candidates all score the same."""
    hits: Float[np.ndarray, "step question"]
    """The same per question: 1 right, 0 wrong, a share where candidates tie."""


def accuracy_curve(rows: Rows, scores: ModeScores, normalisation: str) -> AccuracyCurve:
    """Say how often the right candidate wins after the scores are normalised."""
    hits = top_hits(rows, normalise(rows, scores.values, normalisation))
    count = hits.value.shape[1]
    error = hits.value.std(axis=1, ddof=1) / np.sqrt(count) if count > 1 else None
    return AccuracyCurve(
        steps=scores.steps,
        accuracy=hits.value.mean(axis=1),
        standard_error=np.full(scores.steps.size, np.nan) if error is None else error,
        tied=hits.tied,
        undefined=hits.all_equal,
        hits=hits.value,
    )


@dataclass(frozen=True, slots=True)
class SeedMean:
    """Mean over trainings that differ in nothing but their seed."""

    mean: Float[np.ndarray, " point"]
    """NaN where one of the seeds is undefined."""
    standard_error: Float[np.ndarray, " point"]
    """Over seeds; NaN with fewer than two of them."""
    seeds: int


def over_seeds(values: Float[np.ndarray, "seed point"]) -> SeedMean:
    """Average over seeds, with the standard error of that mean."""
    seeds = values.shape[0]
    mean = values.mean(axis=0)
    if seeds < 2:
        return SeedMean(mean, np.full_like(mean, np.nan), seeds)
    return SeedMean(mean, values.std(axis=0, ddof=1) / np.sqrt(seeds), seeds)


@dataclass(frozen=True, slots=True)
class HalfRise:
    """Where a rising curve has come half of its way."""

    step: float
    """NaN where the curve does not rise."""
    low: float
    high: float
    """95 % question bootstrap, given a rise: resamples that do not rise have no place and are
    left out. NaN where the curve does not rise."""
    rise: float
    """Mean of the last quarter of the steps less the first defined value."""
    rise_low: float
    rise_high: float
    """95 % question bootstrap of the rise."""

    @property
    def found(self) -> bool:
        """Whether the rise is above zero with its whole interval."""
        return bool(np.isfinite(self.step))


def half_rise(
    steps: Int[np.ndarray, " step"],
    hits: Float[np.ndarray, "step question"],
    weights: Float[np.ndarray, "draw question"],
) -> HalfRise:
    """Place the step at which an accuracy has risen half-way from its start to its end.

    The curve is replaced by the rising curve nearest to it (isotonic regression), so that
    noise cannot cross the half-way line several times. The place is half-way to where the
    steps end, whether the curve has ended there or not: see `still_rising`.

    Args:
        steps: In order.
        hits: Right or not; steps that are undefined are NaN and left out.
        weights: Resamples of the questions, shared by all curves that are compared.
    """
    kept = ~np.isnan(hits).any(axis=1)
    steps, hits = steps[kept], hits[kept]
    if steps.size < 3:
        return HalfRise(*[float("nan")] * 6)
    curve, draws = hits.mean(axis=1), curve_draws(weights, hits)
    last = max(1, steps.size // 4)
    rises = draws[:, -last:].mean(axis=1) - draws[:, 0]
    rise = float(curve[-last:].mean() - curve[0])
    rise_low, rise_high = (float(end) for end in interval(rises))
    if not (rise > 0 and rise_low > 0):
        nothing = float("nan")
        return HalfRise(nothing, nothing, nothing, rise, rise_low, rise_high)
    places = np.array([half_way(steps, draw) for draw in draws])
    low, high = (float(end) for end in interval(places[np.isfinite(places)]))
    return HalfRise(half_way(steps, curve), low, high, rise, rise_low, rise_high)


def still_rising(steps: Int[np.ndarray, " step"], curve: Float[np.ndarray, " step"]) -> bool:
    """Say whether a curve has not come to its end: its half-rise would move with more steps.

    It has not where the rising curve nearest to it makes more than a tenth of its whole rise
    in the last quarter of the training.
    """
    rising = isotonic_regression(curve).x
    before = np.interp(0.75 * steps[-1], steps, rising)
    return bool(rising[-1] - before > STILL * (rising[-1] - rising[0]))


def half_way(steps: Int[np.ndarray, " step"], curve: Float[np.ndarray, " step"]) -> float:
    """Find where the nearest rising curve crosses the middle of its range; NaN if it is flat."""
    rising = isotonic_regression(curve).x
    middle = (rising[0] + rising[-1]) / 2
    if not rising[-1] > rising[0]:
        return float("nan")
    after = int(np.argmax(rising >= middle))
    part = (middle - rising[after - 1]) / (rising[after] - rising[after - 1])
    return float(steps[after - 1] + part * (steps[after] - steps[after - 1]))


def on_clock(place: float, steps: Sequence[int | float], clock: Sequence[int | float]) -> float:
    """Read another clock (examples, summed learning rate) at a step between saved ones."""
    return float(np.interp(place, steps, clock)) if np.isfinite(place) else float("nan")
