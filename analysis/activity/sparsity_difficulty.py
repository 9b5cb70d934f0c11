"""Measure `sparsity_difficulty`: is a state sparser because its question is hard?

Harder input is reported to give sparser last states (2603.03415), so a change of sparsity is
looked at with the base margin of each question held fixed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.activity.relations import Gap, Relation, relations_table
from critical_phase.analysis.activity.sparsity import titled
from critical_phase.analysis.activity.sparsity_metrics import (
    effective_rank,
    gini,
    hoyer,
    l0_own,
    l1,
    top_energy,
)
from critical_phase.analysis.charts import numbers
from critical_phase.analysis.inference.bootstrap import interval, shared_weights
from critical_phase.analysis.inference.partial import Correlation, rank_correlation
from critical_phase.analysis.inputs import RunArrays, mean_by_question, question_count
from critical_phase.analysis.probing.random_labels import random_labels
from critical_phase.analysis.results import BOOTSTRAP, Curve, MeasureResult
from critical_phase.analysis.scores.curves import base_scores, combine, primary_mode, top_hits
from critical_phase.analysis.scores.difficulty import NEVER, base_margins, course
from critical_phase.analysis.scores.margin import by_label
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.states.activations import sorted_steps

ABOUT = (
    "Per question: sparsity of its states before training and its change over training, against"
    " how hard the question is for the base (base margin: right minus best wrong, in nats), and"
    " the change against how late the question is learned, with the base margin held fixed. Rank"
    " correlations; the control permutes questions. A correlation is no cause."
)

METRIC = "hoyer"
"""The stored metric that is followed at every layer; fixed in advance."""

LAST_STATE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "hoyer": hoyer,
    "gini": gini,
    "l1": l1,
    "top5_energy": lambda x: top_energy(x, 5),
    "effective_rank": effective_rank,
    "l0_own": l0_own,
}
"""Metrics of 2603.03415 for the last state at the end of the question."""


@dataclass(frozen=True, slots=True)
class _Questions:
    """What is known of every question."""

    margin: Float[np.ndarray, " question"]
    late: Float[np.ndarray, " question"] | None
    weights: Float[np.ndarray, "draw question"]
    labels: Float[np.ndarray, "naming row"]
    """Right against wrong, then candidates named right at random against the others."""


def sparsity_difficulty(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Relate sparsity to the difficulty of questions.

    Args:
        arrays: The run.
        settings: Modes, weight, seed and resampling sizes.
        done: Results of earlier measures; not needed here.

    Returns:
        One correlation curve per head and one table row per head, place and metric.
    """
    about = (
        "sparsity_difficulty",
        "Sparsity against difficulty",
        ABOUT,
        "2603.03415; permutation with covariate: Freedman and Lane 1983",
    )
    questions = _questions(arrays, settings)
    found: list[Relation] = []
    curves: list[Curve] = []
    for head in arrays.heads:
        order, steps = sorted_steps(arrays, head)
        if steps.size < 2:
            continue
        parts = _parts(arrays, head, order, questions)
        found += [_relate(head, *part, questions, settings) for part in parts]
        stored = arrays.sparsity(head).get(METRIC)
        if stored is not None:
            each = mean_by_question(arrays.rows, stored[order, -1])
            curves.append(_curve(head, steps, each, questions, arrays.batch_size))
    if not found:
        note = "neither sparsity nor states at the end of the question were given: not computed"
        return MeasureResult(*about, {}, (note,))
    return MeasureResult(
        *about,
        {"metric": METRIC, "draws": settings.draws, "permutations": settings.permutations},
        (),
        tuple(curves),
        tables=(relations_table(found),),
        facts={"relations": tuple(found)},
    )


def _questions(arrays: RunArrays, settings: AnalysisSettings) -> _Questions:
    """Collect base margin and time of learning; no time where no question differs in it."""
    weights = shared_weights(question_count(arrays.rows), settings)
    margin = base_margins(arrays.rows, base_scores(arrays))
    labels = random_labels(
        arrays.rows, settings.permutations, np.random.default_rng([settings.seed, 41])
    )
    mode = primary_mode(arrays.heads, settings.modes)
    if mode is None:
        return _Questions(margin, None, weights, labels)
    hits = top_hits(arrays.rows, combine(arrays, mode, settings.weight).values).value
    hits = hits[np.isfinite(hits).all(axis=1)]
    first = course(hits == 1.0).first
    late = np.where(first == NEVER, hits.shape[0], first).astype(np.float64)
    return _Questions(margin, late if np.ptp(late) > 0 else None, weights, labels)


def _parts(
    arrays: RunArrays, head: str, order: Int[np.ndarray, " step"], questions: _Questions
) -> Iterator[tuple[str, str, np.ndarray, Gap | None]]:
    """Yield place, metric, first and last value per question, and the gap right minus wrong."""
    ends = [int(order[0]), int(order[-1])]
    for name, values in arrays.sparsity(head).items():
        whole = name in (METRIC, f"{METRIC}_trimmed")
        for layer in range(values.shape[1]):
            if not whole and layer + 1 < values.shape[1]:
                continue
            rows = np.asarray(values[ends, layer], dtype=np.float64)
            gap = _gap(arrays, rows[1] - rows[0], questions)
            yield f"layer {layer}", name, mean_by_question(arrays.rows, rows), gap
    if "question_end" in arrays.positions and arrays.layers:
        starts = np.searchsorted(arrays.rows.question, np.arange(question_count(arrays.rows)))
        steps = np.asarray(arrays.activation_steps(head))[ends]
        found = [
            arrays.residual_at(head, int(step), max(arrays.layers), "question_end")[starts]
            for step in steps
        ]
        states = np.asarray(found, dtype=np.float64)
        for name, metric in LAST_STATE.items():
            yield "last state", name, metric(states), None


def _gap(arrays: RunArrays, moved: Float[np.ndarray, " row"], questions: _Questions) -> Gap:
    """Compare the change on right answers with that on wrong ones of the same question."""
    right, wrong = by_label(arrays.rows, moved[None])
    low, high = interval(questions.weights @ (right - wrong)[0])
    found = questions.labels @ moved
    spread = float(found[1:].std())
    z = found / spread if spread > 0 else np.zeros(found.size)
    return Gap(float(found[0]), (float(low), float(high)), z)


def _relate(
    head: str,
    where: str,
    metric: str,
    each: Float[np.ndarray, "two question"],
    gap: Gap | None,
    questions: _Questions,
    settings: AnalysisSettings,
) -> Relation:
    """Compute the correlations of one metric at one place; all permute questions alike."""

    def related(
        x: np.ndarray, y: np.ndarray, number: int, fixed: np.ndarray | None = None
    ) -> Correlation:
        rng = np.random.default_rng([settings.seed, number])
        return rank_correlation(
            x, y, questions.weights, rng, fixed=fixed, permutations=settings.permutations
        )

    change, late = each[1] - each[0], questions.late
    return Relation(
        head,
        where,
        metric,
        related(each[0], questions.margin, 44),
        related(change, questions.margin, 44),
        None if late is None else related(change, late, 45, questions.margin),
        gap,
    )


def _curve(
    head: str,
    steps: Int[np.ndarray, " step"],
    each: Float[np.ndarray, "step question"],
    questions: _Questions,
    batch_size: int,
) -> Curve:
    """Draw the correlation of sparsity with base margin over training, in the last layer."""
    rng = np.random.default_rng(0)  # the curve needs no permutations
    found = [
        rank_correlation(row, questions.margin, questions.weights, rng, permutations=1)
        for row in each
    ]
    at = [int(s) for s in steps]
    return Curve(
        f"sparsity_difficulty.{head}",
        f"Sparsity against base margin, {head} head",
        "rank correlation",
        "sparsity_difficulty",
        head,
        at,
        [s * batch_size for s in at],
        numbers(np.array([one.value for one in found])),
        f"{titled(METRIC)[0]} of the last layer's MLP activations at the end of the answer against"
        " the base margin, over questions. Below 0: harder questions have sparser states.",
        each.shape[1],
        head,
        low=numbers(np.array([one.interval[0] for one in found])),
        high=numbers(np.array([one.interval[1] for one in found])),
        interval=BOOTSTRAP,
        references=[{"label": "no relation", "value": 0.0}],
    )
