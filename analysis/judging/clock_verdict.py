"""H0c: does the schedule of training, and nothing in the model, set the place of the change?"""

from critical_phase.analysis.judging.hypotheses import Case, Kind, Verdict
from critical_phase.analysis.judging.thresholds import EXPLAINS
from critical_phase.analysis.jumps.clock_tests import ClockSpeed, ClockTest
from critical_phase.analysis.jumps.mirage import Mirage
from critical_phase.analysis.jumps.series_change import SeriesChange

RATES, PATH = "summed learning rate", "path length"
NEED = "vary learning rate, batch size and warm-up to see whether the jump stays in steps"


def schedule(case: Case) -> Verdict:
    """Decide from the same curve on other clocks.

    Never excluded by one run: at a constant rate the place may still move with the rate, as it
    does in the embedded model, which is abrupt in path length for some seeds. Supported where the
    learning rate changes abruptly at the change, which is smooth in both other clocks, and a
    steady drift of margins in path length explains it: a large p alone shows no smoothness.
    """
    points = case.results["change_points"].facts
    quantity, change = _studied(case)
    tests: dict[str, ClockTest] = points["clock_tests"].get(quantity, {})
    speeds: dict[str, ClockSpeed] = points["clock_speeds"]
    path, rates, speed = tests.get(PATH), tests.get(RATES), speeds.get(RATES)
    if change is None or path is None:
        texts = ("no adapters to measure path", NEED)
        return Verdict("H0c", "not tested", None, None, None, texts)
    text = (
        f"abruptness p = {change.test.p:.3g} in steps and {path.p:.3g} in path length of the"
        f" weights ({quantity.split('.')[0]})"
    )
    drift: Mirage | None = points["mirages"].get((case.primary, PATH))
    kind, said = _kind(change, path, rates, speed, drifts=_explains(drift))
    return Verdict("H0c", kind, None, None, None, (text, said, NEED))


def _explains(drift: Mirage | None) -> bool:
    """Say whether a steady drift of margins gives most of the step, and in its place."""
    if drift is None or drift.smooth_interval is None:
        return False
    return drift.smooth_interval[0] > EXPLAINS and drift.same_place is True


def _studied(case: Case) -> tuple[str, SeriesChange | None]:
    """Return the margin where it is abrupt, else the accuracy."""
    margin = case.margin
    if margin is not None and margin.test.found:
        return f"margin.{case.primary}", margin
    return f"accuracy.{case.primary}", case.accuracy


def _kind(
    change: SeriesChange,
    path: ClockTest,
    rates: ClockTest | None,
    speed: ClockSpeed | None,
    *,
    drifts: bool,
) -> tuple[Kind, str]:
    """Weigh the clocks."""
    if speed is None or rates is None:
        return "not separable", "the log does not hold the learning rate"
    if speed.even:
        return "not separable", "the learning rate is constant: no clock tells it from steps"
    said = f"p = {rates.p:.3g} in summed learning rate, whose speed changes {speed.ratio:.3g} times"
    low, high = change.interval[0] - change.width / 2, change.interval[1] + change.width / 2
    meets = speed.found and speed.interval[0] <= high and speed.interval[1] >= low
    smooth = not rates.found and not path.found and not rates.left_out + path.left_out
    if change.test.found and smooth and meets and drifts:
        return "supported", f"{said} at the change"
    return "not separable", said
