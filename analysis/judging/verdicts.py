"""Which explanations of the jump are supported, excluded, not separable or not tested.

No hypothesis is supported without its kill test, nor while one of the plain explanations
before it is untested. Order: noise floor, mirage, clocks, scale, then the mechanisms.
"""

from collections.abc import Mapping
from dataclasses import replace

from critical_phase.analysis.inputs import RunArrays
from critical_phase.analysis.judging.clock_verdict import schedule
from critical_phase.analysis.judging.control_verdicts import style
from critical_phase.analysis.judging.hypotheses import ORDER, Case, Verdict
from critical_phase.analysis.judging.instability_verdict import unstable
from critical_phase.analysis.judging.mechanisms import constant, heterogeneity, knowing, rerouting
from critical_phase.analysis.judging.mirage_verdict import smooth_margin
from critical_phase.analysis.judging.noise_verdict import rounding
from critical_phase.analysis.judging.prior_verdict import prior
from critical_phase.analysis.judging.scale_verdict import growth
from critical_phase.analysis.results import MeasureResult
from critical_phase.analysis.settings import AnalysisSettings

PLAIN = ("H0b", "H0a", "H0c", "H1")
"""Explanations without a mechanism: they are settled before any mechanism is."""


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
        few = "too few checkpoints to look for a change of accuracy"
        why = (
            "no abrupt change of accuracy was found, so there is none to explain"
            if case.accuracy is not None
            else few,
        )
        many = heterogeneity(case)  # switches of single questions need no common one
        rest = [Verdict(h, "not tested", None, None, None, why) for h in ORDER[2:]]
        found = _in_order(first + rest)
        untested = any(v.verdict == "not tested" for v in found[:2])
        if many.verdict != "supported" or untested:
            return found
        return tuple(many if v.hypothesis == "H9" else v for v in found)
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
    """Take support away from hypotheses that come after an untested plain explanation.

    One that was tested and could not be told apart may be true beside a later one: it is named.
    """
    settled: list[Verdict] = []
    before: dict[str, list[str]] = {"not tested": [], "not separable": []}
    for verdict in sorted(found, key=lambda v: ORDER.index(v.hypothesis)):
        if verdict.verdict == "supported":
            verdict = _held_back(verdict, before)
        if verdict.hypothesis in PLAIN and verdict.verdict in before:
            before[verdict.verdict].append(verdict.hypothesis)
        settled.append(verdict)
    return tuple(settled)


def _held_back(verdict: Verdict, before: Mapping[str, list[str]]) -> Verdict:
    """Hold support back while an earlier explanation is untested, and name what stays open."""
    if lost := before["not tested"]:
        note = f"not supported while {', '.join(lost)} is not tested"
        return replace(verdict, verdict="not separable", evidence=(*verdict.evidence, note))
    if left := before["not separable"]:
        note = f"{', '.join(left)} may be true beside it: tested and not told apart"
        return replace(verdict, evidence=(*verdict.evidence, note))
    return verdict
