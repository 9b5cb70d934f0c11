"""Is a change abrupt on every clock, and where does a clock itself change its speed?

Abrupt in steps and smooth on a clock that follows the optimizer hints that the optimizer sped
up (hypothesis H0c); see docs/methods.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from critical_phase.analysis.inputs import RunArrays
from critical_phase.analysis.jumps.change_point import FEWEST, Abruptness, word_of
from critical_phase.analysis.jumps.clock import CLOCKS, Clock, Paths, clocks_of
from critical_phase.analysis.jumps.series_change import ChangeFinder
from critical_phase.analysis.results import Table, column
from critical_phase.analysis.series import Series

STEADY = 1e-6
"""Range of log speed below which a clock runs evenly."""


@dataclass(frozen=True, slots=True)
class ClockTest:
    """The abruptness of one series with one clock as time."""

    quantity: str
    clock: str
    checkpoints: int
    """Checkpoints that have a time on this clock."""
    left_out: int
    p: float
    share: float
    """Size of the best abrupt shape over the range of the curve."""
    found: bool
    tau: float | None
    """Place of the best abrupt shape on the clock; None unless it is abrupt."""
    tau_step: float | None
    """The same place in steps."""


@dataclass(frozen=True, slots=True)
class ClockSpeed:
    """How the speed of a clock, per step, changes over training."""

    clock: str
    even: bool
    """Does it run evenly in steps?"""
    p: float | None
    """Abruptness of the log of its speed; None where it is even or has too few checkpoints."""
    found: bool
    step: float
    """Place of the best abrupt change of speed; NaN without one."""
    interval: tuple[float, float]
    """Checkpoints around that place."""
    ratio: float
    """Factor by which the best abrupt shape changes the speed there."""


def clock_tests(
    arrays: RunArrays,
    mode: str,
    finder: ChangeFinder,
    known: Mapping[str, tuple[Series, Abruptness]],
    paths: Paths | None = None,
) -> tuple[dict[str, dict[str, ClockTest]], dict[str, ClockSpeed]]:
    """Test series of one mode again on every clock that is stored.

    Args:
        arrays: The run.
        mode: How heads are combined.
        finder: The test, shared with the one on steps.
        known: Series of that mode with their test on steps, by quantity.
        paths: Path lengths of the heads, read from the run where left out.

    Returns:
        Tests by quantity and clock, and the speed of every clock. A clock that runs evenly in
        steps has the result of steps, because only the unit differs.
    """
    tests: dict[str, dict[str, ClockTest]] = {}
    speeds: dict[str, ClockSpeed] = {}
    for quantity, (series, in_steps) in known.items():
        clocks = clocks_of(arrays, mode, series.steps, paths)
        tests[quantity] = {
            name: found
            for name, clock in clocks.items()
            if (found := _test(series, in_steps, clock, finder)) is not None
        }
        if not speeds:
            speeds = {name: _speed(c, finder) for name, c in clocks.items() if name != "steps"}
    return tests, speeds


def _test(
    series: Series, in_steps: Abruptness, clock: Clock, finder: ChangeFinder
) -> ClockTest | None:
    """Test one series on one clock; None with too few checkpoints."""
    if clock.steps.size < FEWEST:
        return None
    kept = np.isin(series.steps, clock.steps)
    if clock.proportional:
        test = in_steps
        tau = float(np.interp(test.tau, clock.steps, clock.time))
    else:
        own = None if series.per_question is None else series.per_question[kept]
        part = replace(series, steps=series.steps[kept], value=series.value[kept], per_question=own)
        test = finder.test(part, clock.time)
        tau = test.tau
    place = tau if test.found else None
    step = None if place is None else clock.step_at(place)
    return ClockTest(
        series.quantity, clock.name, clock.steps.size, clock.left_out, test.p, test.share,
        test.found, place, step,
    )  # fmt: skip


def _speed(clock: Clock, finder: ChangeFinder) -> ClockSpeed:
    """Look for an abrupt change of the log of a clock's speed per step."""
    steps = clock.steps.astype(np.float64)
    middles, gaps = (steps[1:] + steps[:-1]) / 2, np.diff(steps)
    speed = np.log(np.diff(clock.time) / gaps)
    nothing = (float("nan"), float("nan"))
    if float(np.ptp(speed)) <= STEADY:
        return ClockSpeed(clock.name, True, None, False, float("nan"), nothing, 1.0)
    if speed.size < FEWEST:
        return ClockSpeed(clock.name, False, None, False, float("nan"), nothing, float("nan"))
    series = Series(f"speed.{clock.name}", "", "", "weights", clock.steps[1:], speed)
    test = finder.test(series, middles)
    after = int(np.clip(np.searchsorted(middles, test.tau), 1, speed.size - 1))
    around = (float(middles[after - 1]), float(middles[after]))
    ratio = float(np.exp(test.sign * test.share * np.ptp(speed)))
    return ClockSpeed(clock.name, False, test.p, test.found, test.tau, around, ratio)


def clocks_table(
    tests: Mapping[str, Mapping[str, ClockTest]], speeds: Mapping[str, ClockSpeed]
) -> Table:
    """List the abruptness of each quantity on each clock, and where the clock changes speed."""
    rows = []
    for quantity, by_clock in tests.items():
        for name, test in by_clock.items():
            speed = speeds.get(name)
            rows.append(
                [quantity, name, test.p, word_of(test.p, test.share), test.tau,
                 "steps" if name == "steps" else CLOCKS[name][0], test.tau_step, test.share,
                 test.checkpoints, *_speed_cells(speed)]
            )  # fmt: skip
    columns = [
        column("quantity", "quantity", kind="text"),
        column("clock", "clock", kind="text"),
        column("p", "p on this clock", kind="p"),
        column("verdict", "verdict", kind="text"),
        column("tau", "tau on this clock"),
        column("unit", "unit of the clock", kind="text"),
        column("tau_step", "the same place", "step"),
        column("share", "share of the range"),
        column("checkpoints", "checkpoints"),
        column("speed", "speed of the clock", kind="text"),
        column("speed_step", "speed changes at", "step"),
        column("speed_ratio", "by a factor of"),
        column("speed_p", "p of that change", kind="p"),
    ]
    caption = (
        "The test for an abrupt change with another clock as time: tau is given where it is abrupt."
        " Abrupt in steps but smooth in path length or summed learning rate hints that the"
        " optimizer sped up and nothing else happened; a large p is no proof of smoothness. A clock"
        " that runs evenly in steps cannot differ from them. Checkpoints at which a clock does not"
        " advance are left out. The distance from the base is moved by what it is compared with:"
        " abrupt in steps and smooth in it says only that both moved together."
    )
    return Table("clocks", "Clocks of the headline", caption, columns, rows)


def _speed_cells(speed: ClockSpeed | None) -> list[str | float | None]:
    """Write the speed of a clock; of steps there is nothing to say."""
    if speed is None or speed.even:
        return ["even", None, None, None]
    if speed.p is None:
        return ["too few checkpoints", None, None, None]
    if not speed.found:
        return ["no abrupt change", None, None, speed.p]
    return ["abrupt change", speed.step, speed.ratio, speed.p]


def missing_clocks(speeds: Mapping[str, ClockSpeed]) -> list[str]:
    """Say in one warning which clocks could not be made, and what each needs."""
    lost = [f"{name} ({CLOCKS[name][3]})" for name in CLOCKS if name not in speeds]
    return [f"clocks that are not stored, and what they need: {', '.join(lost)}"] if lost else []
