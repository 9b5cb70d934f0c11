"""Measure `curves`: accuracy, margin, pairs and log-likelihoods of every mode over training."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.charts import curve
from critical_phase.analysis.inference.accuracy_interval import band_of
from critical_phase.analysis.inference.bootstrap import shared_weights
from critical_phase.analysis.inputs import RunArrays, chance, check_rows, question_count
from critical_phase.analysis.results import Curve, MeasureResult, Table, column
from critical_phase.analysis.scores.curves import (
    ModeScores,
    available_modes,
    base_scores,
    combine,
    sorted_scores,
    top_hits,
)
from critical_phase.analysis.scores.margin import by_label, margins, right_pairs
from critical_phase.analysis.scores.noise_floor import (
    NoiseFloor,
    at_rest,
    direction_agreement,
    noise_floor,
)
from critical_phase.analysis.series import Series, question_series
from critical_phase.analysis.settings import AnalysisSettings

ABOUT = (
    "Accuracy (share of questions whose right candidate scores highest), margin (right minus best"
    " wrong, in nats) and share of right-wrong pairs for each way of combining the heads. Accuracy"
    " thresholds the margin, so a steep accuracy curve alone shows no abrupt change in the model."
)


@dataclass(frozen=True, slots=True)
class _Mode:
    """Everything about one mode."""

    scores: ModeScores
    series: tuple[Series, ...]
    tied: Int[np.ndarray, " step"]
    all_equal: Int[np.ndarray, " step"]


def curves(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Compute the curves of every mode that the trained heads allow.

    Args:
        arrays: The run.
        settings: Modes, weight and resampling sizes.
        done: Results of earlier measures; not needed here.

    Returns:
        Curves with paired question-bootstrap bands, and a table of first, best and last values.
    """
    check_rows(arrays.rows)
    weights = shared_weights(question_count(arrays.rows), settings)
    names = available_modes(arrays.heads, settings.modes)
    modes = {name: _mode(arrays, combine(arrays, name, settings.weight)) for name in names}
    direction, floors = _directions(arrays)
    alone = direction_accuracies(arrays)
    lines = [c for mode in modes.values() for c in _curves_of(mode, weights, arrays, settings)]
    lines += _plain_curves(_label_series(arrays), weights, arrays)
    lines += _plain_curves([*direction, *alone], weights, arrays)
    return MeasureResult(
        "curves",
        "Accuracy, margin and likelihood",
        ABOUT,
        "2503.14391; ties and normalisation as in docs/methods.md",
        {"weight": settings.weight, "draws": settings.draws, "seed": settings.seed},
        _warnings(modes, settings),
        tuple(lines),
        tables=(_table(modes, weights), _ties(modes)),
        series=(*(s for mode in modes.values() for s in mode.series), *direction),
        facts=_facts(arrays, modes, weights)
        | {
            "floors": floors,
            "direction": direction,
            "direction_accuracy": {str(one.head): one for one in alone},
        },
    )


def direction_accuracies(arrays: RunArrays) -> list[Series]:
    """Return the accuracy of the direction of each head's change alone, A_dir.

    Scores are -delta of the negative head and delta of the positive one: w = 1 and no other
    head, so neither size nor base counts. Undefined, and left out, where nothing moved.
    """
    base, found = base_scores(arrays), []
    for head in arrays.heads:
        steps, scores = sorted_scores(arrays, head)
        change = at_rest(arrays.rows, base, scores) - base
        hits = top_hits(arrays.rows, -change if head == "negative" else change).value
        found.append(
            question_series(
                f"direction_accuracy.{head}",
                f"accuracy of the direction alone, {head} head",
                "share",
                "accuracy",
                steps,
                hits,
                head=head,
            )
        )
    return found


def _plain_curves(
    group: list[Series], weights: Float[np.ndarray, "draw question"], arrays: RunArrays
) -> list[Curve]:
    """Draw the series of single heads: changes of right and wrong answers, and direction."""
    captions = {
        "delta_right": "Mean change of the right answers' log-likelihood from the base model.",
        "delta_wrong": "Mean change of the wrong answers' log-likelihood from the base model.",
        "direction": "Within-question correlation of the score change with the last one; flat"
        " while the change only grows.",
        "direction_accuracy": "Accuracy of the score change alone (minus that of the negative"
        " head), without base or other head: its size does not count, so it stays level while the"
        " change only grows. Where a change is below the noise of computing, it is that of noise.",
    }
    lines = []
    for one in group:
        stem = one.quantity.split(".")[0]
        moved = stem.startswith("delta_")
        lines.append(
            curve(
                one,
                weights,
                arrays.batch_size,
                group=f"loglikelihood.{one.head}" if moved else stem,
                label=stem.removeprefix("delta_") if moved else str(one.head),
                caption=captions[stem],
                references=[{"label": "chance", "value": chance(arrays.rows)}]
                if stem == "direction_accuracy"
                else (),
            )
        )
    return lines


def _mode(arrays: RunArrays, scores: ModeScores) -> _Mode:
    """Compute accuracy, per-character accuracy, margin and pairs of one mode."""
    rows, name, steps = arrays.rows, scores.mode, scores.steps
    hits = top_hits(rows, scores.values)
    normed = top_hits(rows, scores.values / np.maximum(rows.characters, 1))
    undefined = ~np.isfinite(hits.value).all(axis=1)
    margin, pairs = margins(rows, scores.values), right_pairs(rows, scores.values)
    margin[undefined], pairs[undefined] = np.nan, np.nan
    parts = (
        ("accuracy", f"accuracy, {name}", "share", "accuracy", hits.value),
        ("margin", f"margin, {name}", "nats", "margin", margin),
        ("accuracy_per_character", f"accuracy per character, {name}", "share", "accuracy",
         normed.value),
        ("pairs", f"right pairs, {name}", "share", "margin", pairs),
    )  # fmt: skip
    series = tuple(
        question_series(f"{stem}.{name}", title, unit, kind, steps, values, mode=name)
        for stem, title, unit, kind, values in parts
    )
    return _Mode(scores, series, hits.tied, hits.all_equal)


def _curves_of(
    mode: _Mode,
    weights: Float[np.ndarray, "draw question"],
    arrays: RunArrays,
    settings: AnalysisSettings,
) -> list[Curve]:
    """Draw the series of one mode, with chance and base as references."""
    base = float(np.mean(top_hits(arrays.rows, base_scores(arrays)[None]).value))
    lines = [{"label": "chance", "value": chance(arrays.rows)}, {"label": "base", "value": base}]
    captions = {
        "accuracy": "Share of questions whose right candidate has the highest summed score.",
        "accuracy_per_character": "The same after dividing every score by its characters.",
        "margin": "Mean of right minus best wrong score; zero is the threshold of accuracy.",
        "pairs": "Mean share of wrong candidates that score below the right one.",
    }
    result = []
    for series in mode.series:
        stem = series.quantity.split(".")[0]
        result.append(
            curve(
                series,
                weights,
                arrays.batch_size,
                group=stem,
                label=mode.scores.mode,
                caption=captions[stem],
                references=lines if stem == "accuracy" else (),
            )
        )
    return result


def _label_series(arrays: RunArrays) -> list[Series]:
    """Return how far right and wrong answers moved from the base, per head."""
    base = base_scores(arrays)
    found = []
    for head in arrays.heads:
        steps, scores = sorted_scores(arrays, head)
        right, wrong = by_label(arrays.rows, scores - base)
        for stem, values in (("delta_right", right), ("delta_wrong", wrong)):
            title = f"log-likelihood of {stem.removeprefix('delta_')} answers, {head} head"
            found.append(
                question_series(
                    f"{stem}.{head}", title, "nats from base", "margin", steps, values, head=head
                )
            )
    return found


def _directions(arrays: RunArrays) -> tuple[list[Series], dict[str, NoiseFloor]]:
    """Return, per head, agreement with the last direction, and signal over noise."""
    base, found, floors = base_scores(arrays), [], {}
    for head in arrays.heads:
        steps, scores = sorted_scores(arrays, head)
        floors[head] = noise_floor(arrays.rows, base, steps, scores)
        agreement = direction_agreement(arrays.rows, scores - base)
        title = f"direction of the score change, {head} head"
        found.append(
            question_series(
                f"direction.{head}", title, "correlation", "margin", steps, agreement, head=head
            )
        )
    return found, floors


def _warnings(modes: Mapping[str, _Mode], settings: AnalysisSettings) -> tuple[str, ...]:
    """Say which modes are missing and where scores are tied."""
    lost = [name for name in settings.modes if name not in modes]
    need = "mode {} needs" if len(lost) == 1 else "modes {} need"
    notes = [f"{need.format(', '.join(lost))} a head that was not trained; left out"] * bool(lost)
    for name, mode in modes.items():
        count = mode.series[0].per_question
        full = count is not None and mode.all_equal == count.shape[1]
        where = mode.scores.steps[full] if count is not None else np.empty(0)
        if where.size:
            listed = ", ".join(str(int(s)) for s in where[:3])
            notes.append(f"{name} scores of every question are equal at step {listed}: undefined")
    return tuple(notes)


def _table(modes: Mapping[str, _Mode], weights: Float[np.ndarray, "draw question"]) -> Table:
    """List first, best and last accuracy of each mode."""
    rows = []
    for name, mode in modes.items():
        for series in (mode.series[0], mode.series[2]):
            if not series.value.size:
                continue
            band = band_of(series, weights)
            last = (None, None) if band is None else (float(band[0][-1]), float(band[1][-1]))
            at = int(np.argmax(series.value))
            kind = "sum" if series is mode.series[0] else "per character"
            first, best, end = (float(series.value[i]) for i in (0, at, -1))
            rows.append([name, kind, first, best, int(series.steps[at]), end, *last])
    labels = (
        column("mode", "mode", kind="text"),
        column("normalisation", "score", kind="text"),
        column("first", "first", "share"),
        column("best", "best", "share"),
        column("best_step", "best at", "step"),
        column("last", "last", "share"),
        column("last_low", "last, low", "share"),
        column("last_high", "last, high", "share"),
    )
    caption = "Intervals: 95 % over questions. The best step is chosen on the same questions."
    return Table("accuracy", "Accuracy", caption, list(labels), rows)


def _ties(modes: Mapping[str, _Mode]) -> Table:
    """Count ties per mode and step, where there are any."""
    rows = [
        [name, int(step), int(tied), int(equal)]
        for name, mode in modes.items()
        for step, tied, equal in zip(mode.scores.steps, mode.tied, mode.all_equal, strict=True)
        if tied or equal
    ]
    labels = [
        column("mode", "mode", kind="text"),
        column("step", "step"),
        column("tied", "tied at the top", "questions"),
        column("all_equal", "all equal", "questions"),
    ]
    caption = "A tie counts one over the number tied; a step with only equal scores is undefined."
    return Table("ties", "Ties", caption, labels, rows)


def _facts(
    arrays: RunArrays, modes: Mapping[str, _Mode], weights: Float[np.ndarray, "draw question"]
) -> dict[str, object]:
    """Collect the accuracy block of the findings."""
    base = top_hits(arrays.rows, base_scores(arrays)[None]).value
    accuracy: dict[str, object] = {
        "chance": chance(arrays.rows),
        "base": float(np.mean(base)) if np.isfinite(base).all() else None,
    }
    for name, mode in modes.items():
        series = mode.series[0]
        band = band_of(series, weights)
        if band is None or not series.value.size:
            continue
        accuracy[name] = {
            "first": float(series.value[0]),
            "last": float(series.value[-1]),
            "best": float(series.value.max()),
            "last_interval": [float(band[0][-1]), float(band[1][-1])],
        }
    return {"accuracy": accuracy}
