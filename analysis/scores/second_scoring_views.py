"""Curves and tables of a second scoring."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.charts import curve, numbers
from critical_phase.analysis.inputs import RunArrays, question_count
from critical_phase.analysis.results import BOOTSTRAP, Curve, Table, column
from critical_phase.analysis.scores.contexts import AGAIN
from critical_phase.analysis.scores.second_scoring import LEVELS, Crossing, SecondScoring
from critical_phase.analysis.series import Series

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


def label_of(context: str) -> str:
    """Name a second scoring as pages do."""
    return LABELS.get(context, context.removeprefix(f"{AGAIN}-"))


def scoring_words(name: str) -> str:
    """Name a scoring: the run's own, or how the second one was made."""
    return "the run's own" if name == "own" else label_of(name)


def snr_curve(found: SecondScoring, context: str, head: str, arrays: RunArrays) -> Curve:
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


def accuracy_curves(
    found: Twice, context: str, weights: Float[np.ndarray, "draw question"], arrays: RunArrays
) -> list[Curve]:
    """Draw accuracy in both scorings."""
    return [
        curve(
            one,
            weights,
            arrays.batch_size,
            group=f"twice.{context}",
            label=scoring_words(name),
            caption="The same checkpoints and questions in two scorings; where noise decides, the"
            " two disagree.",
        )
        for name, one in (("own", found.one), (context, found.two))
    ]


def crossing_table(facts: Mapping[str, Mapping[str, Mapping[str, object]]]) -> Table:
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


def accuracy_table(facts: Mapping[str, Mapping[str, Mapping[str, object]]]) -> Table:
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
