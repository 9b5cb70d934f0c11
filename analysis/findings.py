"""What people and scripts read first: jump, accuracy, changes, verdicts, controls."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from critical_phase import __version__

from .change_point import MOST_SHARE
from .change_points import reference
from .changes import RankedChange
from .control_runs import control_sentences
from .curves import NEEDS, available_modes
from .finding_controls import control_findings
from .hypotheses import CLAIMS, Verdict
from .inputs import RunArrays, question_count
from .jump_finding import jump_finding
from .mirage import Mirage
from .results import MeasureResult, plain
from .series_change import SeriesChange
from .settings import AnalysisSettings
from .templates import ABRUPT_SHARE, SMOOTH_SHARE
from .verdicts import verdicts
from .words import two


def findings(
    arrays: RunArrays,
    settings: AnalysisSettings,
    results: Mapping[str, MeasureResult],
) -> dict[str, Any]:
    """Collect the findings of a run.

    Args:
        arrays: The run.
        settings: Name of the run and resampling sizes.
        results: Measures that were run; `curves`, `change_points` and `changes` among them.

    Returns:
        Plain values under the published keys, without NaN.
    """
    points = results["change_points"]
    jump = reference(points)
    warnings = _warnings(arrays, settings, results)
    abrupt = [row for row in results["changes"].facts["ranked"] if row.abrupt]
    ranked = [
        row
        for row in abrupt
        if row.change.placed and row.lead is not None and not row.change.width_at_limit
    ]
    if abrupt and jump is None:
        warnings.append(f"{len(abrupt)} quantities change abruptly although accuracy does not")
    return dict(
        plain(
            {
                "schema_version": 1,
                "run": settings.run,
                "provenance": _provenance(arrays, settings),
                "weight": settings.weight,
                "sentence": sentence(arrays, results, weight=settings.weight, names=settings.names),
                "jump": None if jump is None else jump_finding(jump, results, arrays.batch_size),
                "accuracy": results["curves"].facts["accuracy"],
                "changes": [_change(row) for row in ranked if jump is not None],
                "verdicts": [_verdict(v) for v in verdicts(arrays, settings, results)],
                "controls": [*control_sentences(results), *control_findings(results)],
                "warnings": warnings,
                **({"names": dict(settings.names)} if settings.names else {}),
                **({"control_runs": [c.noted for c in arrays.controls]} if arrays.controls else {}),
            }
        )
    )


def _warnings(
    arrays: RunArrays, settings: AnalysisSettings, results: Mapping[str, MeasureResult]
) -> list[str]:
    """List what a reader must know: files, unmatched steps, measures, what abrupt means."""
    notes = [str(note) for note in getattr(arrays, "notes", ())]
    notes += _unmatched(arrays, settings)
    notes += [f"{name}: {text}" for name, one in results.items() for text in one.warnings]
    steps = np.concatenate([arrays.steps(head) for head in arrays.heads] or [np.zeros(0)])
    if steps.size:
        notes.append(_what_abrupt_means(int(steps.max() - steps.min())))
    return list(dict.fromkeys(notes))


def _what_abrupt_means(span: int) -> str:
    """Say which widths the test calls abrupt, and which it may call either."""
    return (
        f"abrupt means that a change with a 10-90 width of at most {ABRUPT_SHARE * span:g} steps (a"
        f" quarter of the {span} collected) fits better than smooth curves, whose sigmoids are at"
        f" least {SMOOTH_SHARE * span:g} steps wide ({SMOOTH_SHARE:g}); a change between the two"
        " may be called either, so the width of an abrupt one may be given as up to that"
    )


def _provenance(arrays: RunArrays, settings: AnalysisSettings) -> dict[str, Any]:
    """Say what the numbers were made from, so that they can be cited; no clock of today."""
    sizes = np.bincount(arrays.rows.question)
    return {
        "analysis_version": __version__,
        "made": dict(settings.made),
        "questions": question_count(arrays.rows),
        "candidates": sorted({int(size) for size in sizes}),
        "heads": list(arrays.heads),
        "checkpoints": {head: int(arrays.steps(head).size) for head in arrays.heads},
        "batch_size": arrays.batch_size,
        "draws": settings.draws,
        "permutations": settings.permutations,
        "smooth_draws": settings.smooth_draws,
        "analysis_seed": settings.seed,
        "training_runs": 1,
    }


def _unmatched(arrays: RunArrays, settings: AnalysisSettings) -> list[str]:
    """Name the steps that a mode of two heads leaves out because one head lacks them."""
    notes = []
    for mode in available_modes(arrays.heads, settings.modes):
        steps = [np.unique(arrays.steps(head)) for head in NEEDS[mode]]
        each, count = np.unique(np.concatenate(steps), return_counts=True)
        lost = each[count < len(steps)].tolist()
        if lost:
            listed = ", ".join(str(step) for step in lost[:8]) + (", ..." if lost[8:] else "")
            what = "step has" if len(lost) == 1 else "steps have"
            notes.append(
                f"{mode}: {len(lost)} {what} scores of one head only and are left out of this mode"
                f" ({listed})"
            )
    return notes


def _change(row: RankedChange) -> dict[str, Any]:
    """Describe one abrupt change."""
    series = row.change.series
    return {
        "quantity": series.quantity,
        "layer": series.layer,
        "head": series.attention_head,
        "tau_step": row.change.tau,
        "interval_steps": row.change.interval,
        "effect": row.change.size,
        "p_adjusted": row.p_adjusted,
        "p_family": row.p_family,
        "lead_steps": row.lead,
        "order": row.order,
        "lead_interval": row.lead_interval,
        "near_steps": row.reach,
        "with_jump": None if row.reach is None else row.with_jump,
        "title": series.title,
        "width_steps": row.change.width,
        "interval_kind": row.change.interval_kind,
        "width_at_limit": row.change.width_at_limit,
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    """Describe one verdict."""
    return {
        "hypothesis": verdict.hypothesis,
        "claim": CLAIMS[verdict.hypothesis],
        "verdict": verdict.verdict,
        "effect": verdict.effect,
        "interval": verdict.interval,
        "p_adjusted": verdict.p_adjusted,
        "effect_name": verdict.effect_name,
        "effect_unit": verdict.effect_unit,
        "p_name": verdict.p_name,
        "evidence": list(verdict.evidence),
    }


def sentence(
    arrays: RunArrays,
    results: Mapping[str, MeasureResult],
    *,
    weight: float = 1.0,
    names: Mapping[str, str] | None = None,
) -> str:
    """Say in one sentence whether accuracy jumps, where, and what margins explain.

    Args:
        arrays: The run.
        results: Measures that were run; `curves` and `change_points` among them.
        weight: Weight of the subtracted term, named where it is not 1.
        names: What modes are called, where not by the names of the heads trained here.

    Returns:
        The headline of the run.
    """
    points = results["change_points"]
    mode, accuracy = points.facts["primary"], results["curves"].facts["accuracy"]
    if mode is None or mode not in accuracy:
        return "No trained head, so there is no accuracy to follow."
    jump = reference(points)
    name = _name(mode, weight, names or {})
    if jump is None:
        return _no_jump(mode, name, accuracy[mode], points, arrays)
    margin: SeriesChange | None = points.facts["changes"].get(f"margin.{mode}")
    found: Mirage | None = points.facts["mirages"].get((mode, "steps"))
    size = arrays.batch_size
    low, high = (round(edge * size) for edge in jump.interval)
    verb = ("jumps", "drops")[jump.size < 0]
    if _steady(found, margin):
        verb = ("rises steeply", "falls steeply")[jump.size < 0]
    start = (
        f"{name} accuracy {verb} from {two(jump.before)} to {two(jump.after)} around"
        f" example {jump.tau * size:.0f} [{low}, {high}] ({_width(jump)})"
    )
    return f"{start}; {_explained(found, margin, size)}"


NAMES = {
    "likra": "Likra",
    "sft": "SFT",
    "base_likra": "Base-Likra",
    "pos_base": "Positive-minus-base",
}
"""Modes as they begin a sentence."""


def _name(mode: str, weight: float, names: Mapping[str, str]) -> str:
    """Name a mode, with the weight of what it subtracts unless that is 1."""
    return names.get(mode, NAMES[mode]) + (
        f" (weight {weight:g})" if weight != 1 and mode != "sft" else ""
    )


def _width(jump: SeriesChange) -> str:
    """Say how long the change takes; the widest that was tried is only a lower limit."""
    if jump.width < 1:
        return "within one checkpoint interval"
    limit = "at least " if jump.width_at_limit else ""
    return f"10-90 width {limit}{jump.width:.0f} step{'s' if round(jump.width) != 1 else ''}"


def _steady(found: Mirage | None, margin: SeriesChange | None) -> bool:
    """Say whether a smooth drift of margins gives most of the step, at the same place."""
    if found is None or margin is None or found.smooth_interval is None:
        return False
    if not found.same_place:
        return False
    return found.smooth_interval[0] > 0.5 and not margin.test.found


def _explained(found: Mirage | None, margin: SeriesChange | None, size: int) -> str:
    """Say what smooth margins would give, and what follows."""
    if found is None or margin is None or found.smooth_interval is None:
        return "margins could not be compared."
    low, high = found.smooth_interval
    at = f"around example {margin.tau * size:.0f}"
    if not found.same_place:
        when = "later" if found.delay > 0 else "earlier"
        share = (
            f"a steady drift of each question's margin would put the change around example"
            f" {found.smooth_middle * size:.0f}, "
        ) + (
            "neither clearly in its place nor clearly elsewhere, so it may or may not explain it"
            if found.same_place is None
            else f"so it does not explain why the change comes {when}"
        )
        if margin.test.found:
            return f"{share}; the margin itself changes abruptly {at}."
        return f"{share}; no abrupt change of the margin itself is found."
    share = (
        f"a smooth drift of each question's margin would explain {two(found.smooth_share)}"
        f" [{two(low)}, {two(high)}] of its largest step"
    )
    if margin.test.found and high < 0.5:
        return f"{share}, and the margin itself changes abruptly {at}."
    if margin.test.found:
        return f"{share}, although the margin itself changes abruptly {at}."
    if _steady(found, margin):
        return f"{share}, so accuracy needs no abrupt change of the margin."
    return f"{share}, and no abrupt change of the margin is found, so the cause stays open."


def _no_jump(
    mode: str, name: str, accuracy: Mapping[str, float], points: MeasureResult, arrays: RunArrays
) -> str:
    """Say that there is no jump, and why."""
    change: SeriesChange | None = points.facts["changes"].get(f"accuracy.{mode}")
    course = f"{name} accuracy goes from {two(accuracy['first'])} to {two(accuracy['last'])}"
    if change is None:
        return f"{course}, with too few checkpoints to look for a jump."
    last = int(np.max(change.series.steps)) * arrays.batch_size
    if change.test.p > 0.05:
        why = f"no faster than a smooth curve with the same noise (p = {two(change.test.p)})"
    elif change.test.share > MOST_SHARE:
        return (
            f"No jump reported: {course} over {last} examples, not smoothly"
            f" (p = {change.test.p:.2g}), but the fit of an abrupt shape failed: it would carry"
            f" {two(change.test.share)} of the range, and at most {MOST_SHARE:g} is believed."
        )
    elif not change.test.found:
        why = f"with an abrupt part of only {two(change.test.share)} of its range"
    elif not change.placed:
        return f"No jump reported: {course} over {last} examples, in a way that no place fits."
    elif change.width_at_limit:
        why = f"its fastest part taking at least {change.width:.0f} steps"
    else:
        return f"No jump reported: {course} over {last} examples; its size may be zero."
    return f"No abrupt change: {course} over {last} examples, {why}."
