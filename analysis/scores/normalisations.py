"""Measure `normalisations`: accuracy under other score rules, and without the question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.charts import curve
from critical_phase.analysis.inference.accuracy_interval import band_of
from critical_phase.analysis.inference.bootstrap import shared_weights
from critical_phase.analysis.inputs import RunArrays, chance, check_rows, question_count
from critical_phase.analysis.results import Curve, MeasureResult, Table, column
from critical_phase.analysis.scores.context_accuracy import Compared, accuracy_series
from critical_phase.analysis.scores.contexts import (
    BLIND,
    DOMAIN,
    InContext,
    missing_steps,
    own_contexts,
)
from critical_phase.analysis.scores.curves import (
    available_modes,
    base_scores,
    combine,
    sorted_scores,
)
from critical_phase.analysis.scores.normalisation import NORMALISATIONS, normalise, pmi_dc
from critical_phase.analysis.series import Series
from critical_phase.analysis.settings import AnalysisSettings

ABOUT = (
    "The same accuracy with the score of each answer divided by its characters, tokens or bytes,"
    " or set against how likely the answer is without the question (PMI_DC). A jump that only one"
    " of these rules shows is a matter of the rule. Where the answers were also read without their"
    " question, that accuracy stands beside the real one."
)

NAMES = dict(zip(NORMALISATIONS, ("sum", "per character", "per token", "per byte"), strict=True))
"""Normalisations as pages name them."""

CAPTIONS = {
    "rule": "Share of questions whose right answer scores highest, by what each score is divided"
    " by. Rules that decide every question alike share one line.",
    "pmi": "PMI_DC of one head: its log-likelihood of the answer after the question minus that"
    " after a premise which every question shares, or after nothing where the prompt format has"
    " no words of its own. The level line is the base model's; it needs"
    " no training, so it is the least that a trained score should beat.",
}

COMMAND = "probe collect RUN --contexts answer_only,domain,shuffled"
"""How to collect what is missing."""


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the table and of a chart."""

    mode: str
    rule: str
    series: Series


def normalisations(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Compute accuracy by mode and normalisation, PMI_DC, and accuracy in other contexts.

    Args:
        arrays: The run.
        settings: Modes, weight and resampling sizes.
        done: Results of earlier measures; not needed here.

    Returns:
        Curves and tables; warnings say what needs contexts that were not collected.
    """
    check_rows(arrays.rows)
    weights = shared_weights(question_count(arrays.rows), settings)
    contexts = own_contexts(arrays)
    lines = _ruled(arrays, settings)
    pmi = [line for c in contexts if c.name == DOMAIN for line in _pmi(arrays, c)]
    levels = [v for line in pmi if line.mode == "base" for v in line.series.value.tolist()]
    compared = Compared(arrays, settings, weights)
    drawn = [_drawn(line, weights, arrays, levels) for line in _distinct([*lines, *pmi])]
    drawn += compared.curves(contexts)
    return MeasureResult(
        "normalisations",
        "Score rules and question-blind controls",
        ABOUT,
        "acc, acc_norm and acc_bytes of lm-evaluation-harness; PMI_DC 2104.08315",
        {"weight": settings.weight, "draws": settings.draws},
        _notes(arrays, contexts),
        tuple(drawn),
        tables=(_table([*lines, *pmi], weights), *compared.tables(contexts)),
    )


def _ruled(arrays: RunArrays, settings: AnalysisSettings) -> list[_Line]:
    """Return accuracy of the base and of every mode under every normalisation."""
    modes = available_modes(arrays.heads, settings.modes)
    values = {mode: combine(arrays, mode, settings.weight) for mode in modes}
    given = [("base", np.zeros(1, dtype=np.int64), base_scores(arrays)[None])]
    given += [(mode, item.steps, item.values) for mode, item in values.items()]
    return [
        _Line(mode, NAMES[how], accuracy_series(arrays.rows, steps, normalise(arrays.rows, v, how),
              f"{how}.{mode}", f"accuracy of {mode}, {NAMES[how]}", mode))
        for mode, steps, v in given for how in NORMALISATIONS
    ]  # fmt: skip


def _pmi(arrays: RunArrays, domain: InContext) -> list[_Line]:
    """Return accuracy of PMI_DC of the base and of every head with a domain premise."""
    zero = np.zeros(1, dtype=np.int64)
    given = [("base", zero, pmi_dc(base_scores(arrays), base_scores(domain))[None])]
    for head in domain.heads:
        (own, scores), (there, premise) = sorted_scores(arrays, head), sorted_scores(domain, head)
        steps, at, other = np.intersect1d(own, there, return_indices=True)
        given.append((head, steps, pmi_dc(scores[at], premise[other])))
    return [
        _Line(name, "PMI_DC", accuracy_series(arrays.rows, steps, values, f"pmi_dc.{name}",
              f"accuracy of PMI_DC, {name}", name))
        for name, steps, values in given
    ]  # fmt: skip


def _distinct(lines: Sequence[_Line]) -> list[_Line]:
    """Keep lines with a course, those of one mode that never differ under one name."""
    kept: list[_Line] = []
    for line in lines:
        if line.mode == "base" or not line.series.value.size:
            continue
        same = [k for k in kept if k.mode == line.mode and _equal(k.series, line.series)]
        if same and line.rule != "PMI_DC":
            at = kept.index(same[0])
            kept[at] = replace(same[0], rule=f"{same[0].rule}, {line.rule}")
        else:
            kept.append(line)
    return kept


def _equal(one: Series, other: Series) -> bool:
    """Say whether two series decide every question alike at every step."""
    return np.array_equal(one.steps, other.steps) and np.array_equal(
        np.asarray(one.per_question), np.asarray(other.per_question)
    )


def _drawn(
    line: _Line,
    weights: Float[np.ndarray, "draw question"],
    arrays: RunArrays,
    levels: Sequence[float],
) -> Curve:
    """Draw one line of the table."""
    pmi = line.rule == "PMI_DC"
    lines = [{"label": "chance", "value": chance(arrays.rows)}]
    if pmi:  # the base has none where its questions are the premise and nothing else
        lines += [{"label": "base", "value": level} for level in levels]
    return curve(
        line.series,
        weights,
        arrays.batch_size,
        group="pmi_dc" if pmi else f"normalised.{line.mode}",
        label=line.mode if pmi else line.rule,
        caption=CAPTIONS["pmi" if pmi else "rule"],
        references=lines,
    )


def _table(lines: Sequence[_Line], weights: Float[np.ndarray, "draw question"]) -> Table:
    """List first, best and last accuracy under every rule."""
    rows = []
    for line in lines:
        band, value = band_of(line.series, weights), line.series.value
        if band is None or not value.size:
            continue
        at = int(np.argmax(value))
        rows.append([
            line.mode, line.rule, float(value[0]), [float(band[0][0]), float(band[1][0])],
            float(value[at]), int(line.series.steps[at]),
            [float(band[0][at]), float(band[1][at])], float(value[-1]),
            [float(band[0][-1]), float(band[1][-1])],
        ])  # fmt: skip
    columns = [
        column("mode", "score", kind="text"),
        column("normalisation", "rule", kind="text"),
        column("first", "first", "share"),
        column("first_interval", "interval of the first"),
        column("best", "best", "share"),
        column("best_step", "best at", "step"),
        column("best_interval", "interval of the best"),
        column("last", "last", "share"),
        column("last_interval", "interval of the last"),
    ]
    caption = (
        "Intervals: 95 % over questions. The best step is chosen on the same questions, so it"
        " flatters. “base” is the untrained model, which has no course."
    )
    return Table("normalisations", "Accuracy by score and rule", caption, columns, rows)


def _notes(arrays: RunArrays, contexts: Sequence[InContext]) -> tuple[str, ...]:
    """Say what was not collected, and with which command it would be."""
    if not contexts:
        return (
            "no question-blind controls, demonstrations or PMI_DC: the answers were read after"
            f" their own question only; {COMMAND} reads them after other texts",
        )
    notes = missing_steps(contexts)
    if DOMAIN not in arrays.contexts:
        notes.append("no PMI_DC: probe collect RUN --contexts domain collects what it needs")
    if not any(context.name in BLIND for context in contexts):
        notes.append(f"no question-blind controls: {COMMAND} collects them")
    return tuple(notes)
