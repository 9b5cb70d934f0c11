"""Which explanations of the jump are supported, excluded, not separable or not tested.

A later hypothesis is never supported while an earlier one is untested, and never without
its kill test. Order: noise floor, mirage, clocks, scale, then the mechanisms.
"""

from collections.abc import Mapping
from dataclasses import replace

from .clock_verdict import schedule
from .control_verdicts import prior, style, unstable
from .hypotheses import ORDER, Case, Verdict
from .inputs import RunArrays
from .mechanisms import constant, heterogeneity, knowing, rerouting
from .mirage_verdict import smooth_margin
from .noise_verdict import rounding
from .results import MeasureResult
from .scale_verdict import growth
from .settings import AnalysisSettings


def verdicts(
    arrays: RunArrays,
    settings: AnalysisSettings,
    results: Mapping[str, MeasureResult],
) -> tuple[Verdict, ...]:
    """Settle every hypothesis as far as the stored arrays allow.

    Args:
        arrays: The run.
        settings: Seed and weight.
        results: Measures that were run; `change_points` and `changes` among them.

    Returns:
        One verdict per hypothesis, in the order in which they are settled.
    """
    case = _case(arrays, settings, results)
    first = [rounding(case), smooth_margin(case)]
    if case.jump is None:
        rest = [
            Verdict(h, "not tested", None, None, None, ("no abrupt change of accuracy to explain",))
            for h in ORDER[2:]
        ]
        return _in_order(first + rest)
    rest = [
        schedule(case),
        growth(case),
        prior(case),
        style(case),
        constant(case),
        *knowing(case),
        rerouting(case),
        unstable(case),
        heterogeneity(case),
    ]
    return _in_order(first + rest)


def _case(
    arrays: RunArrays, settings: AnalysisSettings, results: Mapping[str, MeasureResult]
) -> Case:
    """Collect what the rules look at."""
    points = results["change_points"].facts
    primary = points["primary"]
    return Case(
        arrays,
        settings,
        results,
        tuple(results["changes"].facts["ranked"]) if "changes" in results else (),
        points["changes"].get(f"accuracy.{primary}"),
        points["changes"].get(f"margin.{primary}"),
        str(primary),
    )


def _in_order(found: list[Verdict]) -> tuple[Verdict, ...]:
    """Take support away from hypotheses that come after an untested one."""
    settled: list[Verdict] = []
    open_before: list[str] = []
    for verdict in sorted(found, key=lambda v: ORDER.index(v.hypothesis)):
        if verdict.verdict == "supported" and open_before:
            note = f"not supported while {', '.join(open_before)} is not settled"
            verdict = replace(verdict, verdict="not separable", evidence=(*verdict.evidence, note))
        if verdict.verdict in ("not tested", "not separable"):
            open_before.append(verdict.hypothesis)
        settled.append(verdict)
    return tuple(settled)
