"""Measure `decomposition`: what each head and their combination add to the base's accuracy.

likra - base = (sft - base) + (base_likra - base) + what only the two heads together give.

Reference: 2503.14391 (SFT, base-Likra and Likra side by side).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.charts import curve
from critical_phase.analysis.inference.bootstrap import interval, shared_weights
from critical_phase.analysis.inputs import RunArrays, check_rows, question_count
from critical_phase.analysis.results import Curve, MeasureResult, Table, column
from critical_phase.analysis.scores.curves import base_scores, combine, top_hits
from critical_phase.analysis.series import Series, question_series
from critical_phase.analysis.settings import AnalysisSettings

ABOUT = (
    "Accuracy over that of the base model, split into what the positive head adds alone (sft),"
    " what the negative head adds alone (base_likra), and what only both together add (interaction;"
    " below zero where they answer the same questions right)."
)

PARTS = {
    "total": "both (likra)",
    "positive": "positive (sft)",
    "negative": "negative (base_likra)",
    "interaction": "interaction",
}
"""Parts of the gain over the base as pages name them; the last three add up to the first."""

ADDED = {
    "negative_added": "negative head, added to the positive one (likra - sft)",
    "positive_added": "positive head, added to the negative one (likra - base_likra)",
}
"""The gain of either head where the other is there already."""


@dataclass(frozen=True, slots=True)
class Gains:
    """Gains in accuracy of every question at the steps that all three scores have."""

    steps: Int[np.ndarray, " step"]
    """Steps of both heads at which every score is defined, increasing."""
    parts: dict[str, Float[np.ndarray, "step question"]]
    """By name, of `PARTS` and `ADDED`; -1 to 1."""


def decomposition(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Split the gain over the base into the parts of the heads.

    Args:
        arrays: The run.
        settings: The weight of the subtracted head and resampling sizes.
        done: Results of earlier measures; not needed here.

    Returns:
        The four parts over steps, and a table of the last step. `facts["decomposition"]` holds
        `step` and, by part, value and interval; it is empty where a head is missing.
    """
    check_rows(arrays.rows)
    weights = shared_weights(question_count(arrays.rows), settings)
    gains = gains_of(arrays, settings.weight)
    if gains is None or not gains.steps.size:
        lost = "it needs both heads" if gains is None else "the heads share no scored step"
        return _result(settings, warnings=(f"the gain was not split: {lost}",))
    lines = [
        curve(
            _series(gains, name),
            weights,
            arrays.batch_size,
            group="gain",
            label=label,
            caption="Accuracy minus that of the base model, paired over questions: both heads, each"
            " head alone, and what only both together add. The last three add up to the first.",
            references=[{"label": "no gain", "value": 0.0}],
        )
        for name, label in PARTS.items()
    ]
    last = {
        name: (float(part[-1].mean()), interval(weights @ part[-1]))
        for name, part in gains.parts.items()
    }
    shares = _shares(gains, weights)
    rows: list[list[object]] = []
    for name, (value, (low, high)) in last.items():
        share, edges = shares.get(name, (None, None))
        label = (PARTS | ADDED)[name]
        rows.append([label, value, [float(low), float(high)], share, edges])
    columns = [
        column("part", "part", kind="text"),
        column("gain", "gain over the base", "share of questions"),
        column("interval", "interval"),
        column("share", "share of the whole gain"),
        column("share_interval", "interval of the share"),
    ]
    caption = (
        f"At step {int(gains.steps[-1])}; 95 % over questions, paired. Shares only where the whole"
        " gain is above zero with its interval. The last two lines are gains over the other head"
        " and no parts of the sum."
    )
    facts: dict[str, object] = {"step": int(gains.steps[-1])}
    for name, (value, (low, high)) in last.items():
        facts[name] = {"value": value, "interval": [float(low), float(high)]}
    table = Table("gain", "Gain over the base by head", caption, columns, rows)
    return _result(settings, lines=tuple(lines), tables=(table,), facts=facts)


def gains_of(arrays: RunArrays, weight: float) -> Gains | None:
    """Compute the parts of the gain of every question; None where a head is missing."""
    if set(arrays.heads) != {"positive", "negative"}:
        return None
    base = top_hits(arrays.rows, base_scores(arrays)[None]).value
    found = {mode: combine(arrays, mode, weight) for mode in ("likra", "sft", "base_likra")}
    hits = {mode: top_hits(arrays.rows, one.values).value for mode, one in found.items()}
    steps = found["likra"].steps
    taken = {m: hits[m][np.isin(one.steps, steps)] for m, one in found.items()}
    defined = np.isfinite(np.concatenate([*taken.values(), base.repeat(steps.size, 0)], 1)).all(1)
    both, sft, negative = (taken[m][defined] for m in ("likra", "sft", "base_likra"))
    parts = {
        "total": both - base,
        "positive": sft - base,
        "negative": negative - base,
        "interaction": both - sft - negative + base,
        "negative_added": both - sft,
        "positive_added": both - negative,
    }
    return Gains(steps[defined], parts)


def _series(gains: Gains, name: str) -> Series:
    """Turn one part into a series; it is a difference and no share, so it may be below zero."""
    title = f"gain in accuracy over the base, {PARTS[name]}"
    return question_series(
        f"gain.{name}", title, "share of questions", "margin", gains.steps, gains.parts[name]
    )


def _shares(
    gains: Gains, weights: Float[np.ndarray, "draw question"]
) -> dict[str, tuple[float, list[float]]]:
    """Return the share of each part in the whole gain at the last step, if that is above zero."""
    whole = weights @ gains.parts["total"][-1]
    if interval(whole)[0] <= 0 or whole.min() <= 0:
        return {}
    found = {}
    for name in ("positive", "negative", "interaction"):
        low, high = interval(weights @ gains.parts[name][-1] / whole)
        share = gains.parts[name][-1].mean() / gains.parts["total"][-1].mean()
        found[name] = (float(share), [float(low), float(high)])
    return found


def _result(
    settings: AnalysisSettings,
    *,
    warnings: tuple[str, ...] = (),
    lines: tuple[Curve, ...] = (),
    tables: tuple[Table, ...] = (),
    facts: dict[str, object] | None = None,
) -> MeasureResult:
    """Wrap up."""
    return MeasureResult(
        "decomposition",
        "Which head gives the gain",
        ABOUT,
        "2503.14391",
        {"weight": settings.weight, "draws": settings.draws},
        warnings,
        lines,
        tables=tables,
        facts={"decomposition": facts or {}},
    )
