"""Measure `difficulty`: which questions are learned, and when, by how hard they were."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.charts import curve
from critical_phase.analysis.inference.bootstrap import shared_weights
from critical_phase.analysis.inputs import RunArrays, check_rows, question_count
from critical_phase.analysis.results import Curve, MeasureResult, Table, column
from critical_phase.analysis.scores.curves import base_scores, combine, primary_mode, top_hits
from critical_phase.analysis.scores.difficulty import (
    NEVER,
    STRATA,
    Course,
    base_margins,
    course,
    el2n,
    median_first,
    strata,
)
from critical_phase.analysis.series import question_series
from critical_phase.analysis.settings import AnalysisSettings

ABOUT = (
    "Questions sorted into quarters by the base model's margin before training (right minus best"
    " wrong answer, in nats): easy, middle, hard, near impossible. Accuracy of each quarter over"
    " training, and the step from which single questions stay right to the end."
)

CAUTION = (
    "The quarters are chosen on the base's own scores: any change of the scores, even one that"
    " teaches nothing, would lift the lowest and lower the highest (regression to the mean)."
    " Compare courses within a quarter, not the first step with the last."
)

NAMES = {"near_impossible": "near impossible"}
"""Strata as pages name them, where that is not their own name."""


@dataclass(frozen=True, slots=True)
class _Questions:
    """Everything about single questions, under the primary mode."""

    mode: str
    steps: Int[np.ndarray, " step"]
    hits: Float[np.ndarray, "step question"]
    margin: Float[np.ndarray, " question"]
    el2n: Float[np.ndarray, " question"]
    stratum: Int[np.ndarray, " question"]
    course: Course


def difficulty(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Describe every question and every quarter of difficulty.

    Args:
        arrays: The run.
        settings: Modes, weight and resampling sizes.
        done: Results of earlier measures; not needed here.

    Returns:
        Accuracy of each quarter over training, its table, and one row per question.
    """
    check_rows(arrays.rows)
    about = ("difficulty", "Difficulty", ABOUT, "EL2N 2107.07075; 2206.14486")
    mode = primary_mode(arrays.heads, settings.modes)
    if mode is None:
        return MeasureResult(*about, {}, ("no mode could be computed: nothing to follow",))
    found = _questions(arrays, mode, settings.weight)
    weights = shared_weights(question_count(arrays.rows), settings)
    return MeasureResult(
        *about,
        {"mode": mode, "weight": settings.weight, "draws": settings.draws},
        curves=tuple(_curves(found, arrays, weights)),
        tables=(_summary(found, weights), _table(found, arrays)),
    )


def _questions(arrays: RunArrays, mode: str, weight: float) -> _Questions:
    """Collect difficulty and course of every question; undefined steps are left out."""
    rows, base = arrays.rows, base_scores(arrays)
    scores = combine(arrays, mode, weight)
    hits = top_hits(rows, scores.values).value
    defined = np.isfinite(hits).all(axis=1)
    margin = base_margins(rows, base)
    hits = hits[defined]
    return _Questions(
        mode, scores.steps[defined], hits, margin, el2n(rows, base), strata(margin),
        course(hits == 1.0),
    )  # fmt: skip


def _curves(
    found: _Questions, arrays: RunArrays, weights: Float[np.ndarray, "draw question"]
) -> list[Curve]:
    """Draw accuracy of every quarter, easy first."""
    drawn, sizes = [], np.bincount(arrays.rows.question)
    mixed = np.unique(sizes).size > 1  # more candidates make the margin lower
    for place, inside in _members(found):
        name, level = _name(place), float(np.mean(1 / sizes[inside]))
        series = question_series(
            f"accuracy_stratum.{STRATA[place]}", f"accuracy by difficulty, {name}",
            "share of questions", "accuracy", found.steps, found.hits[:, inside], mode=found.mode,
        )  # fmt: skip
        drawn.append(
            curve(
                series,
                within(weights, inside),
                arrays.batch_size,
                group="accuracy_stratum",
                label=name,
                caption=f"Share of right questions ({found.mode}) in each quarter of difficulty."
                f" {CAUTION}",
                references=[{"label": f"chance, {name}" if mixed else "chance", "value": level}],
            )
        )
    return drawn


def within(
    weights: Float[np.ndarray, "draw question"], inside: Int[np.ndarray, " member"]
) -> Float[np.ndarray, "draw member"]:
    """Return the same resamples for some of the questions, each draw adding up to one.

    A draw that takes none of them counts all of them once.
    """
    chosen = weights[:, inside]
    total = chosen.sum(axis=1, keepdims=True)
    equal = np.full_like(chosen, 1 / max(inside.size, 1))
    shares: np.ndarray = np.divide(chosen, total, out=equal, where=total > 0)
    return shares


def _members(found: _Questions) -> list[tuple[int, Int[np.ndarray, " member"]]]:
    """Return the questions of every stratum that has any, easy first."""
    groups = [(at, np.flatnonzero(found.stratum == at)) for at in reversed(range(len(STRATA)))]
    return [(at, inside) for at, inside in groups if inside.size and found.steps.size]


def _name(place: int) -> str:
    return NAMES.get(STRATA[place], STRATA[place])


def _summary(found: _Questions, weights: Float[np.ndarray, "draw question"]) -> Table:
    """Describe every quarter in one row."""
    rows: list[list[object]] = []
    for place, inside in _members(found):
        own = within(weights, inside)
        first = found.course.first[inside]
        equal = np.full((1, inside.size), 1 / inside.size)
        draws = median_first(first, found.steps, own)
        low, high = np.quantile(draws, [0.025, 0.975], method="nearest")
        band = np.quantile(own @ found.hits[-1, inside], [0.025, 0.975])
        margin = found.margin[inside]
        rows.append([
            _name(place), int(inside.size), float(margin.min()), float(margin.max()),
            float(found.el2n[inside].mean()), float(found.hits[0, inside].mean()),
            float(found.hits[-1, inside].mean()), [float(band[0]), float(band[1])],
            _step(median_first(first, found.steps, equal)[0]), f"{_step(low)} to {_step(high)}",
            int((first == NEVER).sum()), float(found.course.flips[inside].mean()),
        ])  # fmt: skip
    columns = [
        column("stratum", "quarter", kind="text"),
        column("questions", "questions"),
        column("margin_low", "lowest base margin", "nats"),
        column("margin_high", "highest base margin", "nats"),
        column("el2n", "mean EL2N"),
        column("first", "accuracy, first", "share"),
        column("last", "accuracy, last", "share"),
        column("last_interval", "interval of the last"),
        column("median_step", "median step of staying right", kind="text"),
        column("median_interval", "its interval", kind="text"),
        column("never", "not right at the end", "questions"),
        column("flips", "mean flips"),
    ]
    caption = (
        f"Under {found.mode}. Staying right: right at this checkpoint and at all later ones;"
        " “never” where half of the questions or more are wrong at the end. Intervals: 95 % over"
        " the questions of the quarter."
    )
    return Table("strata", "Quarters of difficulty", caption, columns, rows)


def _step(value: float) -> str:
    return "never" if math.isinf(value) else f"{int(value)}"


def _table(found: _Questions, arrays: RunArrays) -> Table:
    """List every question."""
    rows: list[list[object]] = []
    for i, name in enumerate(arrays.rows.question_ids):
        at = int(found.course.first[i])
        word = "never" if at == NEVER else "from the start" if at == 0 else "learned"
        rows.append([
            name, arrays.rows.groups[i], _name(int(found.stratum[i])), float(found.margin[i]),
            float(found.el2n[i]), word, None if at == NEVER else int(found.steps[at]),
            int(found.course.flips[i]),
        ])  # fmt: skip
    columns = [
        column("question", "question", kind="text"),
        column("group", "topic", kind="text"),
        column("stratum", "quarter", kind="text"),
        column("margin", "base margin", "nats"),
        column("el2n", "EL2N"),
        column("course", "stays right", kind="text"),
        column("first", "right to the end from", "step"),
        column("flips", "flips"),
    ]
    caption = (
        f"One row per question, under {found.mode}. EL2N: distance of the base's option"
        " probabilities to the truth, 0 sure and right, 1.41 sure and wrong. Flips: changes"
        " between right and wrong from one checkpoint to the next; a tie counts as wrong."
    )
    return Table("questions", "Questions", caption, columns, rows)
