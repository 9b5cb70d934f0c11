"""Measure `second_scoring`: is the change above the noise of computing it, and since when?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from .bootstrap import curve_draws, interval, shared_weights
from .charts import curve, numbers
from .context_accuracy import accuracy_series
from .contexts import AGAIN, InContext, second_scorings
from .curves import available_modes, base_scores, combine, sorted_scores
from .inputs import RunArrays, check_rows, question_count
from .results import BOOTSTRAP, Curve, MeasureResult, Table, column
from .second_scoring import LEVELS, Crossing, SecondScoring, compare_scorings, half_way
from .series import Series
from .settings import AnalysisSettings

ABOUT = (
    "The same checkpoints scored a second time, one candidate at a time and in other batches."
    " What differs is the noise of computing; what both share is signal. At w = 1 accuracy ignores"
    " the size of a change, so a change that only outgrows its noise looks exactly like a critical"
    " phase. Far above 1 before accuracy moves, noise is no explanation."
)

COMMAND = "probe collect RUN --contexts again --checkpoints log:16"
"""How to make a second scoring."""

LABELS = {AGAIN: "other batches"}
"""Second scorings as pages name them; others by what follows `again-`."""


@dataclass(frozen=True, slots=True)
class Twice:
    """Accuracy of one mode under two scorings, at the steps of both."""

    mode: str
    one: Series
    """Accuracy in the run's own scoring."""
    two: Series
    """Accuracy in the second scoring."""
    tau: float
    """Step at which the first is half way from its first to its last value."""
    tau_again: float
    """The same of the second."""
    shift_interval: tuple[float, float] | None
    """95 % paired over questions of `tau_again - tau`, None where a half way is undefined."""
    spacing: float
    """Steps between the checkpoints around `tau`: no shift below it can be seen."""
    gap: float
    """Largest difference of accuracy at any one step, second minus first."""
    gap_interval: tuple[float, float]
    """95 % paired over questions, at the step of the largest difference."""


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
        lines += [_snr(one, context.name, head, arrays) for head, one in heads.items()]
        for one in list(modes.values())[:1]:
            lines += _accuracies(one, context.name, weights, arrays)
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
        tables=(_crossing_table(facts), _accuracy_table(facts)) if facts else (),
        facts={"second_scoring": facts},
    )


def label_of(context: str) -> str:
    """Name a second scoring as pages do."""
    return LABELS.get(context, context.removeprefix(f"{AGAIN}-"))


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
            title = f"accuracy of {mode} in two scorings, {_words(name)}"
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


def _words(name: str) -> str:
    return "the run's own" if name == "own" else label_of(name)


def _snr(found: SecondScoring, context: str, head: str, arrays: RunArrays) -> Curve:
    """Draw signal over noise of one head."""
    several = "" if context == AGAIN else f", {label_of(context)}"
    return Curve(
        f"snr.{context}.{head}",
        f"signal over noise of score changes, {head} head{several}",
        "ratio",
        "snr",
        f"{head}{several}",
        [int(s) for s in found.steps],
        [int(s) * arrays.batch_size for s in found.steps],
        numbers(found.snr),
        "Standard deviation of the score changes that two scorings share, over that of the noise"
        " in one; below 1 noise decides, above 10 it no longer matters.",
        question_count(arrays.rows),
        head=head,
        low=numbers(found.low),
        high=numbers(found.high),
        interval=BOOTSTRAP,
        references=[{"label": f"{level:g}", "value": level} for level in LEVELS],
    )


def _accuracies(
    found: Twice, context: str, weights: Float[np.ndarray, "draw question"], arrays: RunArrays
) -> list[Curve]:
    """Draw accuracy in both scorings."""
    return [
        curve(
            one,
            weights,
            arrays.batch_size,
            group=f"twice.{context}",
            label=_words(name),
            caption="The same checkpoints and questions in two scorings; where noise decides, the"
            " two disagree.",
        )
        for name, one in (("own", found.one), (context, found.two))
    ]


def _crossing_table(facts: Mapping[str, Mapping[str, Mapping[str, object]]]) -> Table:
    """List noise and where signal rises above it."""
    rows: list[list[object]] = []
    for context, parts in facts.items():
        for head, one in parts["heads"].items():
            assert isinstance(one, SecondScoring)
            cells: list[object] = []
            for crossing in one.crossings:
                cells += [crossing.step, _edges(crossing)]
            rows.append([
                label_of(context), head, int(one.steps.size), float(np.median(one.noise)),
                float(one.snr[0]), int(one.steps[0]), *cells,
            ])  # fmt: skip
    columns = [
        column("scoring", "second scoring", kind="text"),
        column("head", "head", kind="text"),
        column("steps", "steps scored twice"),
        column("noise", "noise of a score change (median)", "nats"),
        column("first", "signal over noise at first"),
        column("first_step", "that is at", "step"),
    ]
    for level in LEVELS:
        columns += [
            column(f"above_{level:g}", f"first above {level:g}", "step"),
            column(f"above_{level:g}_interval", "interval"),
        ]
    caption = (
        "Noise: standard deviation of the difference of two scorings over √2 (not divided where"
        " the second has another numeric type). Signal: what both share. Within questions; 95 %"
        " over questions. Between the steps that were scored twice nothing is known."
    )
    return Table("second_scoring", "Noise of computing", caption, columns, rows)


def _edges(crossing: Crossing) -> list[float | None]:
    """List the interval of a crossing, None where resamples never cross."""
    return [edge if np.isfinite(edge) else None for edge in crossing.interval]


def _accuracy_table(facts: Mapping[str, Mapping[str, Mapping[str, object]]]) -> Table:
    """Compare place and height of accuracy in both scorings."""
    rows: list[list[object]] = []
    for context, parts in facts.items():
        for mode, one in parts["modes"].items():
            assert isinstance(one, Twice)
            rows.append([
                label_of(context), mode, one.tau, one.tau_again,
                None if one.shift_interval is None else list(one.shift_interval), one.spacing,
                one.gap, list(one.gap_interval),
            ])  # fmt: skip
    columns = [
        column("scoring", "second scoring", kind="text"),
        column("mode", "score", kind="text"),
        column("tau", "half way", "step"),
        column("tau_again", "half way, second scoring", "step"),
        column("shift", "interval of the shift", "steps"),
        column("spacing", "checkpoints apart", "steps"),
        column("gap", "largest difference of accuracy", "share"),
        column("gap_interval", "its interval"),
    ]
    caption = (
        "Half way: where accuracy is first half way from its first to its last value at the steps"
        " scored twice. Differences are second minus first, paired over questions (95 %); the"
        " largest is chosen on the same questions."
    )
    return Table("accuracy_twice", "Accuracy in two scorings", caption, columns, rows)


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
