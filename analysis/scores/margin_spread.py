"""Measure `margins`: the margins of single questions, and how they spread and move.

A jump of the mean margin can be one common shift or many questions that turn one by one.
Ridges show the first as one hump that moves, the second as a hump that splits.

Intervals of a quantile: order statistics (Conover, Practical Nonparametric Statistics,
1999, section 3.2). Intervals of a share: Wilson (1927).
"""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import binom

from critical_phase.analysis.charts import numbers
from critical_phase.analysis.inference.proportion import wilson
from critical_phase.analysis.inputs import RunArrays, check_rows
from critical_phase.analysis.results import Curve, Map, MeasureResult
from critical_phase.analysis.scores.curves import combine, primary_mode
from critical_phase.analysis.scores.difficulty import NEVER, course
from critical_phase.analysis.scores.margin import margins
from critical_phase.analysis.settings import AnalysisSettings

ABOUT = (
    "Margin of every question (right minus best wrong score, in nats) at every checkpoint: as a"
    " distribution, as its quantiles, and question by question. A description: a mean that moves"
    " can hide questions that move the other way."
)
BINS = 24
"""Bins of a ridge."""
TAIL = 0.005
"""Share of all margins on each side that the outermost bins take in."""
LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Quantiles that are followed."""
MOST_QUESTIONS = 300
"""Questions of the map; of more, as many evenly spaced in its order."""


def margin_spread(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Describe the margins of single questions over training, in the primary mode.

    Args:
        arrays: The run.
        settings: Modes and weight.
        done: Results of earlier measures; not needed here.

    Returns:
        Quantiles as curves; two maps: the share of questions in each bin of margin, and the
        margin of each question, sorted by the step from which it stays right.
    """
    check_rows(arrays.rows)
    about = ("margins", "Question by question", ABOUT, "Conover (1999), 3.2; Wilson (1927)")
    mode = primary_mode(arrays.heads, settings.modes)
    if mode is None:
        return MeasureResult(*about, {}, ("no mode could be computed: nothing to follow",))
    scores = combine(arrays, mode, settings.weight)
    values = margins(arrays.rows, scores.values)
    values[(values == 0).all(axis=1)] = np.nan  # before training both heads are the base
    used = {"mode": mode, "weight": settings.weight, "bins": BINS, "questions": values.shape[1]}
    steps = [int(step) for step in scores.steps]
    return MeasureResult(
        *about,
        used,
        curves=tuple(_quantiles(values, steps, arrays.batch_size, mode)),
        maps=(_ridges(values, steps, mode), _questions(values, steps, mode, arrays)),
    )


def edges_of(values: Float[np.ndarray, "step question"]) -> Float[np.ndarray, " edge"]:
    """Return the edges of the bins: equal widths over all but the tails, zero one of them."""
    known = values[np.isfinite(values)]
    low, high = np.quantile(known if known.size else np.zeros(1), [TAIL, 1 - TAIL])
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    width = (high - low) / (BINS - 1) or 1.0
    first = -np.ceil(-low / width - 1e-9)
    edges: np.ndarray = width * (first + np.arange(BINS + 1))
    return edges


def shares(
    values: Float[np.ndarray, "step question"], edges: Float[np.ndarray, " edge"]
) -> Float[np.ndarray, "bin step"]:
    """Return the share of questions in each bin; the outermost take in what lies beyond.

    NaN at steps where margins are undefined.
    A margin on an edge belongs to the bin below it, so that zero, a tie, is never a gain.
    """
    places = np.clip(np.searchsorted(edges, values, side="left") - 1, 0, edges.size - 2)
    counts = np.stack([np.bincount(row, minlength=edges.size - 1) for row in places])
    undefined = np.isnan(values).any(axis=1)
    return np.where(undefined, np.nan, counts.T / values.shape[1])


def quantile_interval(count: int, level: float) -> tuple[int, int]:
    """Return the order statistics (from 0) that enclose a quantile in at least 95 % of samples.

    With few values an end lies beyond them: it is then the least or the largest value.
    """
    low = int(binom.ppf(0.025, count, level)) - 1
    high = int(binom.ppf(0.975, count, level))
    return max(low, 0), min(high, count - 1)


def question_order(values: Float[np.ndarray, "step question"]) -> Int[np.ndarray, " question"]:
    """Sort questions by the step from which they stay right; ties by the last margin, falling."""
    turned = course(values > 0).first
    late = np.where(turned == NEVER, values.shape[0], turned)
    return np.lexsort((np.arange(values.shape[1]), -values[-1], late))


def _quantiles(
    values: Float[np.ndarray, "step question"], steps: list[int], batch_size: int, mode: str
) -> list[Curve]:
    """Follow each quantile with its distribution-free interval."""
    ordered, count = np.sort(values, axis=1), values.shape[1]
    drawn = []
    for level in LEVELS:
        low, high = quantile_interval(count, level)
        name = "median" if level == 0.5 else f"{100 * level:.0f} %"
        drawn.append(
            Curve(
                f"margin_quantile.{round(100 * level)}", f"Quantiles of the margin, {mode}: {name}",
                "nats", "margin_quantile", name, steps, [step * batch_size for step in steps],
                numbers(np.quantile(values, level, axis=1)),
                f"Margin ({mode}) below which the named share of questions lies.", count, None,
                mode, None, numbers(ordered[:, low]), numbers(ordered[:, high]),
                "95 % interval of order statistics, over questions", [{"label": "tie", "value": 0}],
            )
        )  # fmt: skip
    return drawn


def _ridges(values: Float[np.ndarray, "step question"], steps: list[int], mode: str) -> Map:
    """Make the map that pages draw as ridges."""
    edges = edges_of(values)
    found, count = shares(values, edges), values.shape[1]
    low, high = wilson(found, count)
    middles = [f"{(a + b) / 2:.3g}" for a, b in pairwise(edges)]
    return Map(
        f"margin_shares.{mode}", f"Distribution of margins, {mode}", "share of questions", None,
        "margin", middles, steps, [numbers(row) for row in found], False,
        [0.0, float(np.nanmax(found, initial=1e-9))],
        "An edge of the bins lies at zero: what is right of it is answered right. A model that"
        " does not change gives the same ridge at every step.",
        "One ridge per step: the share of questions in each bin of margin (nats; right of zero the"
        " right answer wins). The outermost bins take in all margins beyond them.",
        count, "95 % Wilson", [numbers(row) for row in low], [numbers(row) for row in high],
    )  # fmt: skip


def _questions(
    values: Float[np.ndarray, "step question"], steps: list[int], mode: str, arrays: RunArrays
) -> Map:
    """Make the map of single questions."""
    order, count = question_order(values), values.shape[1]
    at = np.unique(np.round(np.linspace(0, count - 1, min(count, MOST_QUESTIONS))).astype(int))
    order = order[at]
    known = np.abs(values[np.isfinite(values)])
    reach = float(np.quantile(known, 1 - 4 * TAIL)) if known.any() else 1.0
    cut = f" Shown: {at.size} of {count} questions, evenly spaced in this order."
    return Map(
        f"question_margin.{mode}", f"Margin of each question, {mode}", "nats", None, "question",
        [str(arrays.rows.question_ids[i]) for i in order], steps,
        [numbers(row) for row in values[:, order].T], True, [-reach, reach],
        "A question that never turns keeps one colour; below zero a wrong answer wins.",
        "One row per question, sorted by the step from which it stays right (top: first; bottom:"
        " never). Colours end where 98 % of the margins do." + (cut if at.size < count else ""),
    )  # fmt: skip
