"""Runs side by side: the same questions, differences paired over them.

Unlike `seeds`, the runs may differ in anything but what they are asked: negatives, learning
rate, model. What differs between them is said first; the numbers cannot say what caused what.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from critical_phase.analysis.charts import numbers
from critical_phase.analysis.inference.bootstrap import curve_draws, interval, shared_weights
from critical_phase.analysis.inference.multiplicity import adjust
from critical_phase.analysis.inputs import Rows, RunArrays, check_rows, question_count
from critical_phase.analysis.jumps.series_change import ChangeFinder
from critical_phase.analysis.many_runs.comparison_lines import (
    Line,
    gap_between,
    last_gap,
    pairs_with,
)
from critical_phase.analysis.many_runs.comparison_table import ONE, comparison_table
from critical_phase.analysis.results import BOOTSTRAP, Curve, MeasureResult
from critical_phase.analysis.scores.curves import available_modes, combine, top_hits
from critical_phase.analysis.scores.margin import margins
from critical_phase.analysis.scores.reached import mean_difference
from critical_phase.analysis.series import Series, question_series
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.errors import ConfigError

MOST = 8
"""Runs on one page: more lines cannot be told apart."""

ABOUT = (
    "Every run on the questions that all of them were asked, resampled together, so that a"
    " difference is paired question by question. The first run is the one that others are held"
    " against. A difference says what is different, never what made it so."
)


def comparison(runs: Mapping[str, RunArrays], settings: AnalysisSettings) -> MeasureResult:
    """Compare the accuracy and margin of runs that were asked the same questions.

    Args:
        runs: Two to eight runs by name; others are held against the first.
        settings: Modes, weight and resampling sizes; equal settings give equal bytes.

    Returns:
        Curves of every run and mode, differences to the first run by step, and a table of last
        accuracies and places of jumps with their differences. Facts: `lines`, `questions`,
        `sentence`.

    Raises:
        ConfigError: Too few or too many runs, no shared question or mode, or shared questions
            with other candidates.
    """
    if not 2 <= len(runs) <= MOST:
        raise ConfigError(f"asked to compare {len(runs)} runs", fix=f"name 2 to {MOST} of them")
    asked = shared_questions({name: arrays.rows for name, arrays in runs.items()})
    finder = ChangeFinder(shared_weights(len(asked), settings), settings)
    unit = {name: arrays.batch_size for name, arrays in runs.items()}
    equal = len(set(unit.values())) == 1
    lines = [
        _line(name, arrays, mode, asked, 1 if equal else unit[name], finder, settings)
        for name, arrays in runs.items()
        for mode in available_modes(arrays.heads, settings.modes)
    ]
    first = next(iter(runs))
    modes = [line.mode for line in lines if line.run == first]
    if not any(line.mode in modes for line in lines if line.run != first):
        raise ConfigError(
            f"no run has a mode of {first} ({', '.join(modes) or 'none'})",
            fix="compare runs that were trained with the same head, or collect the missing one",
        )
    lines = _adjusted(lines)
    scale = next(iter(unit.values())) if equal else 1
    return MeasureResult(
        "comparison",
        "Runs side by side",
        ABOUT,
        "paired question bootstrap; Bonett and Price 2012; docs/methods.md",
        {"draws": settings.draws, "smooth_draws": settings.smooth_draws, "seed": settings.seed,
         "weight": settings.weight, "runs": list(runs), "questions": len(asked)},
        (*_warnings(runs, len(asked), equal=equal), *_equal_scores(lines, first)),
        tuple(_charts(lines, first, finder, scale)),
        tables=(comparison_table(lines, first, finder.weights, scale),),
        facts={"lines": lines, "questions": asked,
               "sentence": _sentence(lines, runs, finder, scale)},
    )  # fmt: skip


def shared_questions(asked: Mapping[str, Rows]) -> tuple[str, ...]:
    """Return the questions that all runs were asked, in the order of the first.

    Raises:
        ConfigError: There is none, or one has other candidates in another run.
    """
    (name, first), *others = asked.items()
    check_rows(first)
    known = set(first.question_ids).intersection(*(rows.question_ids for _, rows in others))
    shared = [question for question in first.question_ids if question in known]
    if len(shared) < 2:
        raise ConfigError(
            f"{len(shared)} questions are in all of {', '.join(asked)}",
            fix="collect the runs on the same evaluation questions",
        )
    mine = _candidates(first)
    for other_name, other in others:
        theirs = _candidates(other)
        if odd := [q for q in shared if mine[q] != theirs[q]]:
            raise ConfigError(
                f"question {odd[0]} has other candidates in {other_name} than in {name}"
                f" ({len(odd)} of {len(shared)} do)",
                fix="collect the runs on the same evaluation questions",
            )
    return tuple(shared)


def _candidates(rows: Rows) -> dict[str, tuple[object, ...]]:
    """List each question's candidates: text where known, and which is right."""
    found: dict[str, list[object]] = {q: [] for q in rows.question_ids}
    for row, question in enumerate(rows.question):
        text = rows.texts[row] if rows.texts else ""
        found[rows.question_ids[question]].append((text, bool(rows.correct[row])))
    return {question: tuple(parts) for question, parts in found.items()}


def _line(
    run: str, arrays: RunArrays, mode: str, asked: Sequence[str], unit: int,
    finder: ChangeFinder, settings: AnalysisSettings,
) -> Line:  # fmt: skip
    """Measure one mode of one run on the shared questions; steps count in a common unit."""
    scores = combine(arrays, mode, settings.weight)
    place = {question: at for at, question in enumerate(arrays.rows.question_ids)}
    chosen = np.array([place[question] for question in asked])
    hits = top_hits(arrays.rows, scores.values).value
    margin = margins(arrays.rows, scores.values)
    margin[~np.isfinite(hits).all(axis=1)] = np.nan
    accuracy, below = (
        question_series(
            f"{kind}.{mode} of {run}", kind, name, kind, scores.steps * unit, values[:, chosen],
            mode=mode,
        )
        for kind, name, values in (("accuracy", "share", hits), ("margin", "nats", margin))
    )  # fmt: skip
    return Line(run, mode, accuracy, below, finder.find(accuracy, below))


def _adjusted(lines: Sequence[Line]) -> list[Line]:
    """Adjust the p-values of all changes together."""
    tested = [line.change.test.p for line in lines if line.change is not None]
    adjusted = iter(adjust(tested))
    return [
        line if line.change is None else replace(line, p_adjusted=float(next(adjusted)))
        for line in lines
    ]


def _charts(lines: Sequence[Line], first: str, finder: ChangeFinder, scale: int) -> Iterator[Curve]:
    """Draw mode by mode: accuracy of every run, differences to the first, margin."""
    for mode in dict.fromkeys(line.mode for line in lines):
        own = [line for line in lines if line.mode == mode]
        yield from (_whole(line.accuracy, line, finder, scale) for line in own)
        yield from _differences(own, first, finder, scale)
        yield from (_whole(line.margin, line, finder, scale) for line in own)


def _whole(series: Series, line: Line, finder: ChangeFinder, scale: int) -> Curve:
    """Draw one quantity of one run."""
    assert series.per_question is not None
    low, high = interval(curve_draws(finder.weights, series.per_question))
    return _curve(
        series, f"{series.kind}.{line.mode}", line.run, f"{series.kind} of {line.mode}", low, high,
        scale, f"{series.kind.capitalize()} of {line.mode} on the shared questions.",
    )  # fmt: skip


def _differences(
    lines: Sequence[Line], first: str, finder: ChangeFinder, scale: int
) -> Iterator[Curve]:
    """Draw how far each run is from the first, step by step; nothing where scores are equal."""
    for line, beside in pairs_with(lines, first):
        gap = gap_between(line.accuracy, beside.accuracy)
        if gap is None or gap.per_question is None or not gap.per_question.any():
            continue
        ends = [mean_difference(row, finder.weights) for row in gap.per_question]
        low, high = np.array(ends).T
        yield _curve(
            gap, f"difference.{line.mode}", f"{line.run} minus {first}",
            f"difference of accuracy, {line.mode}", low, high, scale,
            f"Accuracy minus that of {first} at equal steps, paired over questions.", zero=True,
        )  # fmt: skip


def _equal_scores(lines: Sequence[Line], first: str) -> list[str]:
    """Say which runs have the very margins of the first: they share a head, or are one run."""
    notes = []
    for line, beside in pairs_with(lines, first):
        gap = gap_between(line.margin, beside.margin)
        if gap is not None and gap.per_question is not None and not gap.per_question.any():
            notes.append(f"{line.mode} is the same in {line.run} and {first}, margin for margin")
    return notes


def _curve(
    series: Series, group: str, label: str, title: str, low: np.ndarray, high: np.ndarray,
    scale: int, caption: str, *, zero: bool = False,
) -> Curve:  # fmt: skip
    """Make one line of a chart."""
    assert series.per_question is not None
    steps = [int(step) for step in series.steps]
    return Curve(
        f"{group}.{label}", title, series.unit, group, label, steps,
        [step * scale for step in steps], numbers(series.value), caption,
        series.per_question.shape[1], mode=series.mode, low=numbers(low), high=numbers(high),
        interval=BOOTSTRAP, references=[{"label": "no difference", "value": 0.0}] if zero else [],
    )  # fmt: skip


def _warnings(runs: Mapping[str, RunArrays], shared: int, *, equal: bool) -> list[str]:
    """Say what is left out."""
    notes = [ONE]
    for name, arrays in runs.items():
        count = question_count(arrays.rows)
        if count > shared:
            notes.append(f"{name} was asked {count} questions; {shared} are shared and compared")
    if not equal:
        notes.append("the runs have batches of different sizes, so all steps are given in examples")
    return notes


def _sentence(
    lines: Sequence[Line], runs: Mapping[str, RunArrays], finder: ChangeFinder, scale: int
) -> str:
    """Say how far the last accuracies differ, in the first mode that runs share."""
    first = next(iter(runs))
    pairs = pairs_with(lines, first)
    mode = pairs[0][0].mode
    said = []
    for line, beside in pairs:
        gap = gap_between(line.accuracy, beside.accuracy)
        value, low, high = last_gap(gap, finder.weights)
        if line.mode != mode or gap is None or value is None or low is None or high is None:
            continue
        mine, theirs = (_at_step(one.accuracy, int(gap.steps[-1])) for one in (line, beside))
        word = "higher" if low > 0 else "lower" if high < 0 else "not clearly different"
        said.append(
            f"{line.run} {mine:.2f}, {first} {theirs:.2f} after {gap.steps[-1] * scale} examples"
            f" ({word}: {value:+.2f} [{low:+.2f}, {high:+.2f}])"
        )
    if not said:
        return f"The runs share no step at which {mode} could be compared."
    return f"Accuracy of {mode}: {'; '.join(said)}."


def _at_step(series: Series, step: int) -> float:
    """Return the value at a step that the series has."""
    return float(series.value[np.flatnonzero(series.steps == step)[0]])
