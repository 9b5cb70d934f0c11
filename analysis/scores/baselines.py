"""Measure `baselines`: what wording, length and place give away, and what the heads take of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.charts import curve
from critical_phase.analysis.inference.accuracy_interval import accuracy_band
from critical_phase.analysis.inference.bootstrap import interval, shared_weights
from critical_phase.analysis.inputs import RunArrays, chance, check_rows, question_count
from critical_phase.analysis.results import Curve, MeasureResult, Table, column
from critical_phase.analysis.scores.contexts import DOMAIN, InContext, own_contexts
from critical_phase.analysis.scores.curves import (
    available_modes,
    base_scores,
    combine,
    primary_mode,
    sorted_scores,
    top_hits,
)
from critical_phase.analysis.scores.normalisation import pmi_dc
from critical_phase.analysis.scores.surface import (
    guess_from_words,
    overlap,
    place_hits,
    rule_hits,
    within_correlation,
)
from critical_phase.analysis.series import Series, question_series
from critical_phase.analysis.settings import AnalysisSettings

ABOUT = (
    "Accuracy of rules that know neither the model nor, mostly, the question: length, words shared"
    " with the question, place in the file, a bag of words learned on other questions; and of the"
    " base model with the answer alone. What such a rule reaches needs no understanding. The chart"
    " asks whether the heads' score changes follow how likely an answer is without its question."
)

ANSWER_ONLY = "answer_only"
COMMAND = "probe collect RUN --contexts answer_only,domain"
"""How to collect what the model-based baselines need."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """Accuracy of one rule."""

    name: str
    hits: Float[np.ndarray, " question"]
    """1 right, 0 wrong, ties share."""
    p: float | None = None
    """Share of random labellings that do as well; None for a rule that learns nothing."""


def baselines(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Compute surface baselines and how far score changes follow the prior of answers.

    Args:
        arrays: The run; `question_texts`, where it has them, give the words shared with
            the question.
        settings: Seed, permutations, modes, weight and resampling sizes.
        done: Results of earlier measures; not needed here.

    Returns:
        A table of rules, one of the modes with the answer alone, and correlations over steps.
        `facts["baselines"]` holds `chance`, `rules`, `answer_only`, `prior_correlation` and
        `length_correlation`, each value with its interval.
    """
    check_rows(arrays.rows)
    weights = shared_weights(question_count(arrays.rows), settings)
    alone = next((c for c in own_contexts(arrays) if c.name == ANSWER_ONLY), None)
    domain = next((c for c in own_contexts(arrays) if c.name == DOMAIN), None)
    rules, notes = _rules(arrays, settings)
    rules += _model_rules(arrays, settings, alone, domain)
    blind = [] if alone is None else _answer_only(arrays, alone, settings, weights)
    priors = [] if alone is None else _correlations(arrays, "prior", base_scores(alone))
    lengths = _correlations(arrays, "length", arrays.rows.characters.astype(np.float64))
    if alone is None:
        notes.append(
            "answers were not scored without their question, so the prior of answers and the"
            f" answer-only heads are unknown: {COMMAND} scores them"
        )
    return MeasureResult(
        "baselines",
        "Surface baselines",
        ABOUT,
        "2402.12483, 2504.07825 (answers without questions); 2104.08315 (PMI_DC)",
        {"permutations": settings.permutations, "weight": settings.weight, "seed": settings.seed},
        tuple(notes),
        tuple(_drawn(one, weights, arrays) for one in (*priors, *lengths)),
        tables=(_table(rules, weights), *([_blind_table(blind)] if blind else [])),
        facts={
            "baselines": {
                "chance": chance(arrays.rows),
                "rules": {one.name: _number(one, weights) for one in rules},
                "answer_only": {str(row["mode"]): row for row in blind},
                "prior_correlation": _lasts(priors, weights),
                "length_correlation": _lasts(lengths, weights),
            }
        },
    )


def _rules(arrays: RunArrays, settings: AnalysisSettings) -> tuple[list[Baseline], list[str]]:
    """Compute the rules that need no model."""
    rows, notes = arrays.rows, []
    found = [
        Baseline(f"{which} in {unit}", rule_hits(rows, sign * lengths.astype(np.float64)))
        for unit, lengths in (("characters", rows.characters), ("tokens", rows.tokens))
        for which, sign in (("longest", 1.0), ("shortest", -1.0))
    ]
    found.append(Baseline("place in the file", place_hits(rows)))
    if not any(rows.texts):
        return found, ["the run holds no texts, so words were not compared"]
    stems = getattr(arrays, "question_texts", None)
    if stems is None or tuple(stems) == rows.question_ids:
        notes.append("the run holds no question texts, so no words were shared with them")
    else:
        shared = overlap(rows, stems)
        found.append(Baseline("most words of the question", rule_hits(rows, shared)))
        found.append(Baseline("fewest words of the question", rule_hits(rows, -shared)))
    rng = np.random.default_rng([settings.seed, 60])
    guess = guess_from_words(rows, settings.permutations, rng)
    if guess is None:
        notes.append("answers share no words across questions, so no bag of words was learned")
    else:
        found.append(Baseline("bag of words", guess.hits, guess.p))
    return found, notes


def _model_rules(
    arrays: RunArrays,
    settings: AnalysisSettings,
    alone: InContext | None,
    domain: InContext | None,
) -> list[Baseline]:
    """Compute what the base model gives, and what the run ends with, to compare."""
    rows, base = arrays.rows, base_scores(arrays)
    found = [Baseline("base model", rule_hits(rows, base))]
    if alone is not None:
        found.append(Baseline("base model, answer alone", rule_hits(rows, base_scores(alone))))
    if domain is not None:
        gained = pmi_dc(base, base_scores(domain))
        found.append(Baseline("base model, PMI_DC", rule_hits(rows, gained)))
    mode = primary_mode(arrays.heads, settings.modes)
    if mode is not None:
        hits = top_hits(rows, combine(arrays, mode, settings.weight).values).value
        if hits.size and np.isfinite(hits[-1]).all():
            found.append(Baseline(f"{mode} at the last step", hits[-1]))
    return found


def _answer_only(
    arrays: RunArrays,
    alone: InContext,
    settings: AnalysisSettings,
    weights: Float[np.ndarray, "draw question"],
) -> list[dict[str, object]]:
    """Compare every mode with the answer alone, at its last step, with that with the question."""
    found: list[dict[str, object]] = []
    for mode in available_modes(alone.heads, settings.modes):
        own, there = (combine(s, mode, settings.weight) for s in (arrays, alone))
        steps, at, other = np.intersect1d(own.steps, there.steps, return_indices=True)
        one = top_hits(arrays.rows, own.values[at]).value
        two = top_hits(arrays.rows, there.values[other]).value
        usable = np.flatnonzero(np.isfinite(one).all(axis=1) & np.isfinite(two).all(axis=1))
        if not usable.size:
            continue
        last = int(usable[-1])
        low, high = accuracy_band(two[last][None], weights)
        gap = interval(weights @ (one[last] - two[last]))
        found.append({
            "mode": mode, "step": int(steps[last]), "accuracy": float(two[last].mean()),
            "interval": [float(low[0]), float(high[0])], "with_question": float(one[last].mean()),
            "difference_interval": [float(gap[0]), float(gap[1])],
        })  # fmt: skip
    return found


def _correlations(arrays: RunArrays, what: str, against: Float[np.ndarray, " row"]) -> list[Series]:
    """Follow how score changes go with a property of the answers, within questions."""
    names = {"prior": "log-likelihood without the question", "length": "length in characters"}
    found, base = [], base_scores(arrays)
    for head in arrays.heads:
        steps, scores = sorted_scores(arrays, head)
        trained = steps > 0
        delta = scores[trained] - base
        found.append(
            question_series(
                f"{what}_correlation.{head}",
                f"correlation of score changes with {names[what]}, {head} head",
                "correlation",
                "margin",
                steps[trained],
                within_correlation(arrays.rows, delta, np.broadcast_to(against, delta.shape)),
                head=head,
            )
        )
    return found


def _drawn(one: Series, weights: Float[np.ndarray, "draw question"], arrays: RunArrays) -> Curve:
    """Draw a correlation over training."""
    what = "prior" if one.quantity.startswith("prior") else "length"
    label = {"prior": "likelihood alone", "length": "length"}[what]
    return curve(
        one,
        weights,
        arrays.batch_size,
        group="surface_correlation",
        label=f"{one.head}, {label}",
        caption="Mean within-question correlation of a head's score change with how likely the"
        " answer is to the base model without its question, and with its length.",
        references=[{"label": "none", "value": 0.0}],
    )


def _number(one: Baseline, weights: Float[np.ndarray, "draw question"]) -> dict[str, object]:
    """Write accuracy with its interval."""
    low, high = accuracy_band(one.hits[None], weights)
    return {
        "accuracy": float(one.hits.mean()),
        "interval": [float(low[0]), float(high[0])],
        "p": one.p,
    }


def _lasts(
    group: Sequence[Series], weights: Float[np.ndarray, "draw question"]
) -> dict[str, dict[str, object]]:
    """Write the last value of the correlation of every head with its interval."""
    found: dict[str, dict[str, object]] = {}
    for one in group:
        if one.per_question is None or not one.steps.size:
            continue
        low, high = interval(weights @ one.per_question[-1])
        found[str(one.head)] = {
            "step": int(one.steps[-1]),
            "value": float(one.value[-1]),
            "interval": [float(low), float(high)],
        }
    return found


def _table(rules: Sequence[Baseline], weights: Float[np.ndarray, "draw question"]) -> Table:
    """List every rule."""
    rows: list[list[object]] = []
    for one in rules:
        found = _number(one, weights)
        rows.append([one.name, found["accuracy"], found["interval"], one.p])
    columns = [
        column("rule", "answer chosen by", kind="text"),
        column("accuracy", "accuracy", "share"),
        column("interval", "interval"),
        column("p", "p of random labels"),
    ]
    caption = (
        "95 % over questions. Ties share. “Place in the file”: the place that is right most often"
        " in the other questions; no score sees it. “Bag of words”: ridge on idf-weighted words of"
        " the answers, each question held out, the best of several penalties here and under random"
        " labels alike."
    )
    return Table("baselines", "What wording gives away", caption, columns, rows)


def _blind_table(found: Sequence[Mapping[str, object]]) -> Table:
    """List the modes with the answer alone."""
    keys = ("mode", "step", "accuracy", "interval", "with_question", "difference_interval")
    columns = [
        column("mode", "score", kind="text"),
        column("step", "step"),
        column("accuracy", "accuracy, answer alone", "share"),
        column("interval", "interval"),
        column("with_question", "with the question", "share"),
        column("difference_interval", "with minus without, interval"),
    ]
    caption = (
        "Both scores of every candidate read without its question. A head that detects the style of"
        " wrong answers does as well here as with the question. 95 % over questions, paired."
    )
    rows = [[row[key] for key in keys] for row in found]
    return Table("answer_only", "With the answer alone", caption, columns, rows)
