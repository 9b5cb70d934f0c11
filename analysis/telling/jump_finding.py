"""The jump of a run as findings give it: place, size, and where else it is, or is not, abrupt."""

from collections.abc import Iterator, Mapping
from typing import Any

from critical_phase.analysis.jumps.clock_tests import ClockTest
from critical_phase.analysis.jumps.mirage import Mirage
from critical_phase.analysis.jumps.place_check import PlaceCheck
from critical_phase.analysis.jumps.resolution import near
from critical_phase.analysis.jumps.series_change import SeriesChange
from critical_phase.analysis.results import MeasureResult
from critical_phase.analysis.telling.words import two

AS_FAR = 0.8
"""Least share of the jump's size that another mode must gain to be named beside it."""


def jump_finding(
    jump: SeriesChange, results: Mapping[str, MeasureResult], batch_size: int
) -> dict[str, Any]:
    """Describe the jump of the primary mode.

    Args:
        jump: The jump, in steps.
        results: Measures that were run; `curves` and `change_points` among them.
        batch_size: Examples per step.

    Returns:
        Plain values under the published keys.
    """
    points = results["change_points"].facts
    mode = points["primary"]
    found: Mirage | None = points["mirages"].get((mode, "steps"))
    check = _check(points, f"accuracy.{mode}")
    accuracy = results["curves"].facts["accuracy"]
    return {
        "mode": mode,
        "kind": jump.kind,
        "tau_step": jump.tau,
        "tau_examples": jump.tau * batch_size,
        "interval_examples": [edge * batch_size for edge in jump.interval],
        "interval_kind": jump.interval_kind,
        "size": jump.size,
        "size_interval": jump.size_interval,
        "width_steps": jump.width,
        "width_at_limit": jump.width_at_limit,
        "near_steps": near(jump.resolution, jump.width),
        "margin_share": None if found is None else found.smooth_share,
        "margin_share_interval": None if found is None else found.smooth_interval,
        "margin_drift_examples": None if found is None else found.smooth_middle * batch_size,
        "margin_drift_same_place": None if found is None else found.same_place,
        "before": jump.before,
        "after": jump.after,
        "first": accuracy[mode]["first"],
        "last": accuracy[mode]["last"],
        "base": accuracy["base"],
        "p": jump.test.p,
        "posterior_steps": None if check is None else check.interval,
        "posterior_agrees": None if check is None else check.agrees,
        "only": "; ".join([*_modes(jump, points, accuracy), *_clocks(points, mode)]),
    }


def _check(points: Mapping[str, Any], quantity: str) -> PlaceCheck | None:
    """Return the exact posterior of the headline's place."""
    return next((one for one in points["posterior"] if one.quantity == quantity), None)


def _modes(
    jump: SeriesChange, points: Mapping[str, Any], accuracy: Mapping[str, Any]
) -> Iterator[str]:
    """Name the modes that move as far the same way, and are not abrupt."""
    for mode, ends in accuracy.items():
        change: SeriesChange | None = points["changes"].get(f"accuracy.{mode}")
        if change is None or mode == points["primary"] or not isinstance(ends, Mapping):
            continue
        first, last = ends["first"], ends["last"]
        far = (last - first) * (1 if jump.size > 0 else -1) >= AS_FAR * abs(jump.size)
        if far and not change.test.found:
            why = "" if change.test.p > 0.05 else f"; {change.test.word}"
            yield (
                f"{mode} goes from {two(first)} to {two(last)} without an abrupt change"
                f" (p = {change.test.p:.2g}{why})"
            )


def _clocks(points: Mapping[str, Any], mode: str) -> Iterator[str]:
    """Name the clocks on which the same accuracy is not abrupt."""
    tests: Mapping[str, ClockTest] = points["clock_tests"].get(f"accuracy.{mode}", {})
    for name, test in tests.items():
        if not test.found:
            yield f"with {name} as time {mode} is not abrupt (p = {test.p:.2g})"
