"""The headline of a run: does accuracy jump, where, and what do margins explain of it?"""

from collections.abc import Mapping

import numpy as np

from critical_phase.analysis.inputs import RunArrays
from critical_phase.analysis.jumps.change_point import MOST_SHARE
from critical_phase.analysis.jumps.change_points import reference
from critical_phase.analysis.jumps.mirage import Mirage
from critical_phase.analysis.jumps.series_change import SeriesChange
from critical_phase.analysis.results import MeasureResult
from critical_phase.analysis.telling.words import two


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
