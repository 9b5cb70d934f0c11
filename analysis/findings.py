"""What people and scripts read first: jump, accuracy, changes, verdicts, controls."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .changes import RankedChange, reference
from .hypotheses import CLAIMS, Verdict
from .inputs import RunArrays
from .mirage import Mirage
from .results import MeasureResult, plain
from .series_change import SeriesChange
from .settings import AnalysisSettings
from .verdicts import verdicts


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
    mode = points.facts["primary"]
    found = points.facts["mirages"].get((mode, "steps"))
    warnings = list(dict.fromkeys(f"{n}: {w}" for n, r in results.items() for w in r.warnings))
    ranked = [row for row in results["changes"].facts["ranked"] if row.abrupt]
    if ranked and jump is None:
        warnings.append(f"{len(ranked)} quantities change abruptly although accuracy does not")
    return dict(
        plain(
            {
                "schema_version": 1,
                "run": settings.run,
                "sentence": sentence(arrays, results),
                "jump": None if jump is None else _jump(jump, found, mode, arrays.batch_size),
                "accuracy": results["curves"].facts["accuracy"],
                "changes": [_change(row) for row in ranked if jump is not None],
                "verdicts": [_verdict(v) for v in verdicts(arrays, settings, results)],
                "controls": _controls(arrays, results),
                "warnings": warnings,
            }
        )
    )


def _jump(jump: SeriesChange, found: Mirage | None, mode: str, batch_size: int) -> dict[str, Any]:
    """Describe the jump of the primary mode."""
    return {
        "mode": mode,
        "kind": jump.kind,
        "tau_step": jump.tau,
        "tau_examples": jump.tau * batch_size,
        "interval_examples": [edge * batch_size for edge in jump.interval],
        "size": jump.size,
        "size_interval": jump.size_interval,
        "width_steps": jump.width,
        "margin_share": None if found is None else found.smooth_share,
        "margin_share_interval": None if found is None else found.smooth_interval,
        "margin_drift_examples": None if found is None else found.smooth_middle * batch_size,
        "margin_drift_same_place": None if found is None else found.same_place,
        "before": jump.before,
        "after": jump.after,
        "p": jump.test.p,
    }


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
        "lead_steps": row.lead,
        "lead_interval": row.lead_interval,
        "title": series.title,
        "width_steps": row.change.width,
        "interval_kind": row.change.interval_kind,
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
        "evidence": list(verdict.evidence),
    }


def _controls(arrays: RunArrays, results: Mapping[str, MeasureResult]) -> list[dict[str, Any]]:
    """List the nulls that the findings were held against."""
    points = results["change_points"].facts
    found = []
    change: SeriesChange | None = points["changes"].get("accuracy.sft")
    if change is not None and points["primary"] != "sft":
        found.append(
            {
                "control": "positive head alone",
                "sentence": f"Accuracy of the positive head goes from {two(change.before)} to"
                f" {two(change.after)}; abruptness p = {change.test.p:.3g}.",
                "value": change.test.p,
            }
        )
    clock = points["clocks"].get(f"margin.{points['primary']}")
    if clock is not None:
        found.append(
            {
                "control": "path length as time",
                "sentence": f"Margin abruptness p = {clock[0]:.3g} in steps and {clock[1]:.3g} in"
                " path length of the weights.",
                "value": clock[1],
            }
        )
    for name in ("linear_probes", "similarity", "attention"):
        for one in results[name].maps[:1] if name in results else ():
            found.append({"control": one.title, "sentence": one.control, "value": None})
    return found


def sentence(arrays: RunArrays, results: Mapping[str, MeasureResult]) -> str:
    """Say in one sentence whether accuracy jumps, where, and what margins explain."""
    points = results["change_points"]
    mode, accuracy = points.facts["primary"], results["curves"].facts["accuracy"]
    if mode is None or mode not in accuracy:
        return "No trained head, so there is no accuracy to follow."
    jump = reference(points)
    if jump is None:
        return _no_jump(mode, accuracy[mode], points, arrays)
    margin: SeriesChange | None = points.facts["changes"].get(f"margin.{mode}")
    found: Mirage | None = points.facts["mirages"].get((mode, "steps"))
    size = arrays.batch_size
    low, high = (round(edge * size) for edge in jump.interval)
    verb = "jumps" if jump.size > 0 else "drops"
    width = "within one checkpoint interval" if jump.width < 1 else (
        f"10-90 width {jump.width:.0f} step{'s' if round(jump.width) != 1 else ''}"
    )  # fmt: skip
    start = (
        f"{NAMES[mode]} accuracy {verb} from {two(jump.before)} to {two(jump.after)} around example"
        f" {jump.tau * size:.0f} [{low}, {high}] ({width})"
    )
    return f"{start}; {_explained(found, margin, size)}"


NAMES = {
    "likra": "Likra",
    "sft": "SFT",
    "base_likra": "Base-Likra",
    "pos_base": "Positive-minus-base",
}
"""Modes as they begin a sentence."""


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
            f" {found.smooth_middle * size:.0f}, so it does not explain why the change comes {when}"
        )
        if margin.test.found:
            return f"{share}; the margin itself changes abruptly {at}."
        return f"{share}; no abrupt change of the margin itself is found, only a bend."
    share = (
        f"a smooth drift of each question's margin would explain {two(found.smooth_share)}"
        f" [{two(low)}, {two(high)}] of its largest step"
    )
    if margin.test.found and high < 0.5:
        return f"{share}, and the margin itself changes abruptly {at}."
    if margin.test.found:
        return f"{share}, although the margin itself changes abruptly {at}."
    if low > 0.5:
        return f"{share}, so it needs no abrupt change inside the model."
    return f"{share}, and no abrupt change of the margin is found, so the cause stays open."


def _no_jump(
    mode: str, accuracy: Mapping[str, float], points: MeasureResult, arrays: RunArrays
) -> str:
    """Say that there is no jump, and why."""
    change: SeriesChange | None = points.facts["changes"].get(f"accuracy.{mode}")
    course = f"{NAMES[mode]} accuracy goes from {two(accuracy['first'])} to {two(accuracy['last'])}"
    if change is None:
        return f"{course}, with too few checkpoints to look for a jump."
    last = int(np.max(change.series.steps)) * arrays.batch_size
    if change.test.p > 0.05:
        why = f"no faster than a smooth curve with the same noise (p = {two(change.test.p)})"
    else:
        why = f"with an abrupt part of only {two(change.test.share)} of its range"
    return f"No abrupt change: {course} over {last} examples, {why}."


def two(value: float) -> str:
    """Write a share with two decimals and no leading zero."""
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
