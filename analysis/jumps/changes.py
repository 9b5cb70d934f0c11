"""Measure `changes`: what changed abruptly, when, and before or after the accuracy jump."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.activity.attention import attention
from critical_phase.analysis.activity.head_importance import head_importance
from critical_phase.analysis.activity.head_outputs import head_outputs
from critical_phase.analysis.activity.sparsity import sparsity
from critical_phase.analysis.inference.bootstrap import interval, shared_weights
from critical_phase.analysis.inference.family import family_p
from critical_phase.analysis.inference.multiplicity import adjust
from critical_phase.analysis.inputs import RunArrays, question_count
from critical_phase.analysis.judging.thresholds import LEVEL
from critical_phase.analysis.jumps.change_point import NO_FIT, SMALL_PART
from critical_phase.analysis.jumps.change_points import change_points, reference
from critical_phase.analysis.jumps.changes_table import changes_table
from critical_phase.analysis.jumps.ranked_change import AT_LIMIT, RankedChange
from critical_phase.analysis.jumps.resolution import near
from critical_phase.analysis.jumps.series_change import ChangeFinder, SeriesChange
from critical_phase.analysis.probing.linear_probes import linear_probes
from critical_phase.analysis.probing.readout_gap import readout_gap
from critical_phase.analysis.results import MeasureResult
from critical_phase.analysis.scores.likelihood import curves
from critical_phase.analysis.series import Series
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.states.similarity import similarity
from critical_phase.analysis.updates.curvature import curvature
from critical_phase.analysis.updates.local_learning import local_learning
from critical_phase.analysis.updates.weights import weights

ABOUT = (
    "Every quantity of every layer and attention head, tested against smooth curves with its own"
    " noise and ranked. Lead is tau of the quantity minus tau of the accuracy jump on the same"
    " resamples of questions, each with its own training noise: negative moved first. Order is no"
    " proof of cause, noisy changes are found less often, accuracy can even precede its own margin"
    " (it turns where the margin crosses zero), and no lead is finer than one checkpoint interval."
)

SOURCES = {
    "curves": curves,
    "linear_probes": linear_probes,
    "readout_gap": readout_gap,
    "similarity": similarity,
    "attention": attention,
    "head_outputs": head_outputs,
    "head_importance": head_importance,
    "sparsity": sparsity,
    "weights": weights,
    "local_learning": local_learning,
    "curvature": curvature,
}
"""Measures whose series are ranked."""

MOST_CURVES = 80_000
"""Most smooth curves simulated for one series whose p-value is at its least."""

LEFT_OUT = ("accuracy_per_character", "pairs")
"""Series that repeat another one."""


def changes(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Test and rank the changes of all series of the measures that were run.

    Args:
        arrays: The run.
        settings: Resampling sizes.
        done: Results of earlier measures. Without them all are computed; with them only
            their series are ranked.

    Returns:
        The ranked table; facts hold the rows with their draws.
    """
    results = dict(done) if done else _all(arrays, settings)
    points = results.get("change_points") or change_points(arrays, settings, results)
    finder = ChangeFinder(shared_weights(question_count(arrays.rows), settings), settings)
    known: dict[str, SeriesChange] = points.facts["changes"]
    tried = [
        (known.get(s.quantity) if s.layer is None else None) or finder.find(s)
        for s in _series(results)
    ]
    found = [change for change in tried if change is not None]
    short = len(tried) - len(found)
    jump = reference(points)
    resolved = resolve(finder, found)
    ranked = rank(resolved, jump, family_p(finder, resolved))
    unresolved = sum(row.verdict == AT_LIMIT for row in ranked)
    unplaced = sum(row.abrupt and not row.change.placed for row in ranked)
    unfit = sum(row.verdict in (NO_FIT, SMALL_PART) for row in ranked)
    notes = [f"{short} series have fewer than 8 checkpoints and were not tested"] if short else []
    if unresolved:
        notes.append(
            f"{unresolved} series have the least p-value that could be simulated, which is not"
            " small enough among so many tests"
        )
    if unfit:
        notes.append(
            f"{unfit} series are no smooth curves but have no abrupt change either: the abrupt"
            " shape does not fit (more than 1.2 of the range) or is small (less than .25)"
        )
    if unplaced:
        notes.append(
            f"{unplaced} abrupt changes could not be placed where they were tested and have no lead"
        )
    if jump is None:
        notes.append("accuracy has no abrupt change, so there is nothing to lead or to follow")
    return MeasureResult(
        "changes",
        "What changed abruptly",
        ABOUT,
        "simulated smooth nulls, Benjamini-Hochberg and max-T over all rows; docs/methods.md",
        {"smooth_draws": settings.smooth_draws, "draws": settings.draws, "tests": len(ranked)},
        tuple(notes),
        tables=(changes_table(ranked, arrays.batch_size),),
        facts={"ranked": ranked, "jump": jump, "weights": finder.weights,
               "resolution_steps": None if jump is None else jump.resolution},
    )  # fmt: skip


def _all(arrays: RunArrays, settings: AnalysisSettings) -> dict[str, MeasureResult]:
    """Run every measure whose series are ranked."""
    found: dict[str, MeasureResult] = {}
    for name, measure in SOURCES.items():
        found[name] = measure(arrays, settings, found)
    return found


def _series(results: Mapping[str, MeasureResult]) -> list[Series]:
    """Return the series to rank, in a fixed order."""
    return [
        series
        for name in SOURCES
        if name in results
        for series in results[name].series
        if series.quantity.split(".")[0] not in LEFT_OUT and _moves(series)
    ]


def _moves(series: Series) -> bool:
    """Say whether a series is defined and not constant."""
    return bool(series.value.size and np.ptp(series.value) > 0)


def resolve(finder: ChangeFinder, found: list[SeriesChange]) -> list[SeriesChange]:
    """Simulate more curves where only their number keeps a change from passing all tests."""
    adjusted = adjust([change.test.p for change in found])
    curves = min(MOST_CURVES, int(1.05 * len(found) / LEVEL))
    return [
        finder.refine(change, curves)
        if p > LEVEL and change.test.found and change.test.p <= 3 * change.test.least
        else change
        for change, p in zip(found, adjusted, strict=True)
    ]


def rank(
    found: list[SeriesChange],
    jump: SeriesChange | None,
    family: Float[np.ndarray, " series"] | None = None,
) -> list[RankedChange]:
    """Adjust p-values, add leads and sort: smallest p first, then the largest statistic."""
    adjusted = adjust([change.test.p for change in found])
    together = np.full(len(found), np.nan) if family is None else family
    rows = []
    for change, p, p_family in zip(found, adjusted, together, strict=True):
        lead, band, floor = _lead(change, jump)
        reach = None if floor is None or jump is None else near(floor, jump.width)
        rows.append(RankedChange(change, float(p), lead, band, float(p_family), floor, reach))
    return sorted(rows, key=lambda r: (not r.abrupt, r.p_adjusted, -r.change.test.statistic))


def _lead(
    change: SeriesChange, jump: SeriesChange | None
) -> tuple[float | None, tuple[float, float] | None, float | None]:
    """Subtract the jump's place, draw by draw; no lead where either has no place.

    The interval is made no finer than the checkpoints around either place.
    """
    if jump is None or jump.draws is None or change.draws is None:
        return None, None, None
    lead = change.tau - jump.tau
    floor = max(change.resolution, jump.resolution)
    low, high = (float(end) for end in interval(change.draws - jump.draws))
    band = (min(low, lead - floor), max(high, lead + floor))
    return lead, band, None if change is jump else floor
