"""Measure `collapse`: is a late score change an early one that has grown?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.charts import numbers
from critical_phase.analysis.inference.accuracy_interval import JOINED, accuracy_band
from critical_phase.analysis.inference.bootstrap import interval, shared_weights
from critical_phase.analysis.inputs import RunArrays, check_rows, question_count
from critical_phase.analysis.judging.thresholds import EQUAL
from critical_phase.analysis.jumps.change_points import reference
from critical_phase.analysis.results import Map, MeasureResult, Table, column
from critical_phase.analysis.scores.collapse import (
    ScaledPair,
    algebra_gap,
    scaled_hits,
    scaled_pair,
    spread,
)
from critical_phase.analysis.scores.contexts import AGAIN
from critical_phase.analysis.scores.curves import base_scores, sorted_scores
from critical_phase.analysis.scores.linearity import linearity, linearity_table
from critical_phase.analysis.scores.noise_floor import at_rest, direction_agreement
from critical_phase.analysis.scores.second_scoring import SecondScoring
from critical_phase.analysis.scores.weight_sweep import MOST_STEPS, log_spaced
from critical_phase.analysis.settings import AnalysisSettings

ABOUT = (
    "Base plus the score change of one head (minus it for the negative head), with every"
    " checkpoint's change brought to the same size. If training only makes one change larger, all"
    " checkpoints give the same accuracy at the same size and rows of the map are level. The table"
    " scales the change before the jump and sets it against the last one."
)

SIZES = (0.1, 0.3, 1.0, 3.0, 10.0, np.inf)
"""Sizes of the change over that of the base's scores, both within questions; infinity: alone."""

WEIGHTS = (0.5, 0.9, 1.0)
"""Weights of the negative head in (1 - w) L0 - w alpha delta."""


@dataclass(frozen=True, slots=True)
class Collapse:
    """An early checkpoint against the last one, under every weight."""

    early: int
    """Step of the early checkpoint."""
    late: int
    """The last step."""
    chosen: str
    """How the early step was chosen."""
    agreement: float
    """rho: within-question correlation of the early change with the late one."""
    agreement_interval: tuple[float, float]
    """95 % over questions."""
    alpha: float
    """Factor that brings the early change to the size of the late one."""
    pairs: tuple[ScaledPair, ...]
    """One per weight, in the order of `WEIGHTS`; at w = 1 only the direction counts."""
    algebra: float
    """Difference of accuracy between weights of one w alpha / (1 - w) at the late step, which
    algebra makes 0 but for ties."""
    snr: float
    """Signal over noise, lower end, at the last step up to the early one that was scored twice;
    NaN without such a step. An early change below its noise fails for that reason alone."""


def collapse(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Compare checkpoints at equal size of their score change.

    Args:
        arrays: The run.
        settings: Resampling sizes.
        done: `change_points`, where it was run, says where the jump begins, `second_scoring`
            how far the early change is above its noise.

    Returns:
        A map by size and step and a table of early against late per head;
        `facts["collapse"][head]` is a `Collapse`; `facts["scaled_adapters"]` holds a
        `ScaledAdapter` of the early step for every factor and head that was scored.
    """
    check_rows(arrays.rows)
    weights = shared_weights(question_count(arrays.rows), settings)
    maps: list[Map] = []
    facts: dict[str, Collapse] = {}
    notes: list[str] = []
    for head in arrays.heads:
        steps, change = _changes(arrays, head)
        if not steps.size:
            notes.append(f"{head} head: no checkpoint moves any score")
            continue
        maps.append(_map(arrays, head, steps, change, weights))
        early, how = _early(steps, done)
        if early is None:
            notes.append(f"{head} head: no trained checkpoint {how}, so none can be scaled")
            continue
        snr = _above_noise(head, int(steps[early]), done)
        facts[head] = _compare(arrays, steps, change, early, how, snr, weights)
    scaled = linearity(arrays, weights, {head: one.early for head, one in facts.items()})
    return MeasureResult(
        "collapse",
        "Does the change only grow?",
        ABOUT,
        "docs/methods.md, scale; 2503.14391 (weight sweep)",
        {"weights": list(WEIGHTS), "sizes": [s for s in SIZES if np.isfinite(s)], "equal": EQUAL},
        tuple(notes),
        maps=tuple(maps),
        tables=(
            *([_table(facts)] if facts else []),
            *([linearity_table(scaled)] if scaled else []),
        ),
        facts={"collapse": facts, "scaled_adapters": tuple(scaled)},
    )


def _changes(
    arrays: RunArrays, head: str
) -> tuple[Int[np.ndarray, " step"], Float[np.ndarray, "step row"]]:
    """Return trained steps that move scores, and what is added to the base there."""
    base = base_scores(arrays)
    steps, scores = sorted_scores(arrays, head)
    delta = at_rest(arrays.rows, base, scores) - base
    moved = (steps > 0) & (spread(arrays.rows, delta) > 0)
    return steps[moved], (-delta if head == "negative" else delta)[moved]


def _early(
    steps: Int[np.ndarray, " step"], done: Mapping[str, MeasureResult] | None
) -> tuple[int | None, str]:
    """Choose the last trained step before the jump, or one at a quarter of the series."""
    jump = None
    if done is not None and "change_points" in done:
        jump = reference(done["change_points"])
    if jump is None:
        near = int(np.argmin(np.abs(steps - steps[-1] / 4)))
        return near, "at a quarter of the series (accuracy has no jump)"
    edge = min(jump.tau - jump.width / 2, jump.interval[0])
    before = np.flatnonzero(steps < edge)
    return (int(before[-1]) if before.size else None), "before the jump of accuracy"


def _above_noise(head: str, step: int, done: Mapping[str, MeasureResult] | None) -> float:
    """Return how far a step is above the noise of computing, NaN where that is not known."""
    if done is None or "second_scoring" not in done:
        return float("nan")
    scorings = done["second_scoring"].facts.get("second_scoring", {})
    found: SecondScoring | None = scorings.get(AGAIN, {}).get("heads", {}).get(head)
    if found is None:
        return float("nan")
    before = np.flatnonzero(found.steps <= step)
    return float(found.low[before[-1]]) if before.size else float("nan")


def _compare(
    arrays: RunArrays,
    steps: Int[np.ndarray, " step"],
    change: Float[np.ndarray, "step row"],
    early: int,
    how: str,
    snr: float,
    weights: Float[np.ndarray, "draw question"],
) -> Collapse:
    """Scale the early change and set it against the last."""
    rows, base = arrays.rows, base_scores(arrays)
    one, two = change[early], change[-1]
    agreement = direction_agreement(rows, np.stack([one, two]))[0]
    low, high = interval(weights @ agreement)
    sizes = spread(rows, np.stack([one, two, base]))
    return Collapse(
        int(steps[early]),
        int(steps[-1]),
        how,
        float(agreement.mean()),
        (float(low), float(high)),
        float(sizes[1] / sizes[0]),
        tuple(scaled_pair(rows, base, one, two, weight, weights) for weight in WEIGHTS),
        algebra_gap(rows, base, two, float(sizes[2] / sizes[1])),
        snr,
    )


def _map(
    arrays: RunArrays,
    head: str,
    steps: Int[np.ndarray, " step"],
    change: Float[np.ndarray, "step row"],
    weights: Float[np.ndarray, "draw question"],
) -> Map:
    """Show accuracy by size of the change and step."""
    rows, base = arrays.rows, base_scores(arrays)
    kept = log_spaced(steps, MOST_STEPS)
    unit = float(spread(rows, base)) / spread(rows, change[kept])
    hits = np.stack([
        scaled_hits(rows, base, change[at], [size * one for size in SIZES])
        for at, one in zip(kept, unit, strict=True)
    ])  # fmt: skip
    bands = [accuracy_band(hits[:, i], weights) for i in range(len(SIZES))]
    return Map(
        f"collapse.{head}",
        f"Accuracy by size of the score change, {head} head",
        "share of questions",
        head,
        "size",
        ["alone" if np.isinf(size) else f"{size:g} x base" for size in SIZES],
        [int(s) for s in steps[kept]],
        [numbers(hits[:, i].mean(axis=1)) for i in range(len(SIZES))],
        False,
        None,
        "A change that only grows makes every row level.",
        "Rows: size to which each checkpoint's change is brought, over the spread of the base's"
        " scores within questions. Columns: checkpoints (log-spaced).",
        hits.shape[2],
        JOINED,
        [numbers(low) for low, _ in bands],
        [numbers(high) for _, high in bands],
    )


def _table(facts: Mapping[str, Collapse]) -> Table:
    """List the early change, as it is and scaled, beside the late one."""
    rows: list[list[object]] = []
    for head, one in facts.items():
        for pair in one.pairs:
            rows.append([
                head, one.early, one.late, pair.weight, pair.unscaled, one.alpha, pair.matched,
                pair.late, list(pair.deficit), pair.best, list(pair.deficit_best),
                one.agreement, list(one.agreement_interval),
            ])  # fmt: skip
    columns = [
        column("head", "head", kind="text"),
        column("early", "early", "step"),
        column("late", "late", "step"),
        column("weight", "w"),
        column("unscaled", "early as it is", "share"),
        column("alpha", "factor to equal size"),
        column("matched", "early, scaled", "share"),
        column("late_accuracy", "late", "share"),
        column("deficit", "late minus scaled early, interval"),
        column("best", "early at its best factor", "share"),
        column("deficit_best", "late minus that, interval"),
        column("agreement", "correlation of the two changes"),
        column("agreement_interval", "its interval"),
    ]
    how = next(iter(facts.values())).chosen
    gap = max(one.algebra for one in facts.values())
    caption = (
        f"Score (1 - w) L0 ∓ w·factor·change; the early step is the one {how}. 95 % over"
        " questions, paired. The best factor is chosen on the same questions, in every resample"
        " too, which flatters the early change. The factor multiplies the change of the score; on"
        " the update of the weights it would do so to first order only. Weights of one w/(1 - w)"
        f" times factor differ by {gap:.1g} in accuracy at the last step, 0 but for ties."
    )
    return Table("collapse", "An early change, scaled, against the last", caption, columns, rows)
