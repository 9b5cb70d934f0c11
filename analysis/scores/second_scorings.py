"""Measure `second_scoring`: is the change above the noise of computing it, and since when?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inference.bootstrap import curve_draws, interval, shared_weights
from critical_phase.analysis.inputs import RunArrays, check_rows, question_count
from critical_phase.analysis.results import Curve, MeasureResult
from critical_phase.analysis.scores.context_accuracy import accuracy_series
from critical_phase.analysis.scores.contexts import AGAIN, InContext, second_scorings
from critical_phase.analysis.scores.curves import (
    available_modes,
    base_scores,
    combine,
    sorted_scores,
)
from critical_phase.analysis.scores.second_scoring import (
    LEVELS,
    SecondScoring,
    compare_scorings,
    half_way,
)
from critical_phase.analysis.scores.second_scoring_views import (
    Twice,
    accuracy_curves,
    accuracy_table,
    crossing_table,
    label_of,
    scoring_words,
    snr_curve,
)
from critical_phase.analysis.series import Series
from critical_phase.analysis.settings import AnalysisSettings

ABOUT = (
    "The same checkpoints scored a second time, one candidate at a time and in other batches."
    " What differs is the noise of computing; what both share is signal. At w = 1 accuracy ignores"
    " the size of a change, so a change that only outgrows its noise looks exactly like a critical"
    " phase. Far above 1 before accuracy moves, noise is no explanation."
)

COMMAND = "probe collect RUN --contexts again --checkpoints log:16"
"""How to make a second scoring."""


def second_scoring(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Compare the run's scores with those of every second scoring that is stored.

    Args:
        arrays: The run.
        settings: Modes, weight and resampling sizes.
        done: Results of earlier measures; not needed here.

    Returns:
        Signal over noise by step and head, accuracy in both scorings, and under
        `facts["second_scoring"][context]` the `SecondScoring` of each head (`heads`) and the
        `Twice` of each mode (`modes`).
    """
    check_rows(arrays.rows)
    weights = shared_weights(question_count(arrays.rows), settings)
    lines: list[Curve] = []
    facts: dict[str, dict[str, dict[str, object]]] = {}
    notes: list[str] = []
    for context in second_scorings(arrays):
        heads = _heads(arrays, context, weights)
        modes = _modes(arrays, context, settings, weights)
        facts[context.name] = {"heads": dict(heads), "modes": dict(modes)}
        notes += _notes(context, heads)
        lines += [snr_curve(one, context.name, head, arrays) for head, one in heads.items()]
        for one in list(modes.values())[:1]:
            lines += accuracy_curves(one, context.name, weights, arrays)
    if not facts:
        notes.append(
            "the checkpoints were scored once, so the noise of computing is known from rounding"
            f" alone; {COMMAND} scores them again in other batches"
        )
    return MeasureResult(
        "second_scoring",
        "Noise floor, measured",
        ABOUT,
        "docs/methods.md, noise floor; levels fixed in advance",
        {"levels": list(LEVELS), "weight": settings.weight, "draws": settings.draws},
        tuple(notes),
        tuple(lines),
        tables=(crossing_table(facts), accuracy_table(facts)) if facts else (),
        facts={"second_scoring": facts},
    )


def _heads(
    arrays: RunArrays, context: InContext, weights: Float[np.ndarray, "draw question"]
) -> dict[str, SecondScoring]:
    """Compare the score changes of every head at the trained steps scored twice."""
    base, other = base_scores(arrays), base_scores(context)
    found = {}
    for head in context.heads:
        (own, scores), (there, again) = sorted_scores(arrays, head), sorted_scores(context, head)
        steps, at, to = np.intersect1d(own, there, return_indices=True)
        kept = steps > 0
        if kept.any():
            found[head] = compare_scorings(
                arrays.rows,
                steps[kept],
                scores[at[kept]] - base,
                again[to[kept]] - other,
                weights,
                other_precision=context.name != AGAIN,
            )
    return found


def _modes(
    arrays: RunArrays,
    context: InContext,
    settings: AnalysisSettings,
    weights: Float[np.ndarray, "draw question"],
) -> dict[str, Twice]:
    """Compare the accuracy of every mode at the steps where both scorings have one."""
    found = {}
    for mode in available_modes(context.heads, settings.modes):
        pair = []
        for name, source in (("own", arrays), (context.name, context)):
            scores = combine(source, mode, settings.weight)
            title = f"accuracy of {mode} in two scorings, {scoring_words(name)}"
            pair.append(accuracy_series(
                arrays.rows, scores.steps, scores.values, f"twice.{name}.{mode}", title, mode
            ))  # fmt: skip
        steps = np.intersect1d(pair[0].steps, pair[1].steps)
        if steps.size:
            found[mode] = _twice(mode, _at(pair[0], steps), _at(pair[1], steps), weights)
    return found


def _twice(
    mode: str, one: Series, two: Series, weights: Float[np.ndarray, "draw question"]
) -> Twice:
    """Place the half-way step in both scorings and compare accuracies, on shared draws."""
    first, second = _hits(one), _hits(two)
    tau, tau_again = (float(half_way(one.steps, x.mean(axis=1)[None])[0]) for x in (first, second))
    shifts = half_way(one.steps, curve_draws(weights, second)) - half_way(
        one.steps, curve_draws(weights, first)
    )
    usable = bool(np.isfinite([tau, tau_again]).all() and np.isfinite(shifts).all())
    low, high = interval(shifts) if usable else (np.nan, np.nan)
    after = int(np.searchsorted(one.steps, tau)) if usable else 0
    around = one.steps[[max(after - 1, 0), min(after, one.steps.size - 1)]]
    gaps = second - first
    most = int(np.argmax(np.abs(gaps.mean(axis=1))))
    edges = interval(weights @ gaps[most])
    return Twice(
        mode,
        one,
        two,
        tau,
        tau_again,
        (float(low), float(high)) if usable else None,
        float(around[1] - around[0]),
        float(gaps[most].mean()),
        (float(edges[0]), float(edges[1])),
    )


def _at(series: Series, steps: Int[np.ndarray, " step"]) -> Series:
    """Keep some steps of a series."""
    kept = np.isin(series.steps, steps)
    return replace(
        series,
        steps=series.steps[kept],
        value=series.value[kept],
        per_question=_hits(series)[kept],
    )


def _hits(series: Series) -> Float[np.ndarray, "step question"]:
    """Return the questions of an accuracy."""
    assert series.per_question is not None
    return series.per_question


def _notes(context: InContext, heads: Mapping[str, SecondScoring]) -> Sequence[str]:
    """Say what a second scoring cannot show."""
    name = label_of(context.name)
    if not heads:
        return (f"{name}: no trained checkpoint was scored twice; {COMMAND} does it",)
    same = [head for head, one in heads.items() if one.identical]
    if not same:
        return ()
    return (
        f"{name}: both scorings of the {' and '.join(same)} head agree to the last bit, so they"
        " went through the model alike and show no noise",
    )
