"""Which explanations of the jump are supported, excluded, not separable or not tested.

A later hypothesis is never supported while an earlier one is untested, and never without
its kill test. Order: noise floor, mirage, clocks, scale, then the mechanisms.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .hypotheses import ORDER, Case, Kind, Verdict, missing
from .inputs import RunArrays
from .mechanisms import constant, heterogeneity, knowing, rerouting
from .mirage import Mirage, mirage
from .results import MeasureResult
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
    first = [_noise_floor(case), _mirage(case)]
    if case.jump is None:
        rest = [
            Verdict(h, "not tested", None, None, None, ("no abrupt change of accuracy to explain",))
            for h in ORDER[2:]
        ]
        return _in_order(first + rest)
    rest = [
        _clock(case),
        _scale(case),
        *(missing(h) for h in ("H2", "H3")),
        constant(case),
        *knowing(case),
        rerouting(case),
        missing("H8"),
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


def _noise_floor(case: Case) -> Verdict:
    """H0b: do score changes rise out of rounding noise where accuracy rises?"""
    floors = case.results["curves"].facts["floors"]
    head = "negative" if "negative" in floors else next(iter(floors))
    floor = floors[head]
    trained = floor.steps > 0
    if not trained.any():
        return Verdict("H0b", "not tested", None, None, None, ("no trained checkpoint",))
    least = float(np.min(floor.ratio[trained]))
    text = (
        f"signal over noise of the {head} head is at least {least:.3g} after step 0, against"
        " float32 rounding and the repeat of step 0"
    )
    more = "score once more with another batch size to measure the noise of the forward pass"
    kind: Kind = "excluded" if least >= 10 else "not separable"
    return Verdict("H0b", kind, least, None, None, (text, more))


def _mirage(case: Case) -> Verdict:
    """H0a: does a smooth drift of margins explain the largest step of accuracy?"""
    points = case.results["change_points"].facts
    found: Mirage | None = points["mirages"].get((case.primary, "steps"))
    accuracy, margin = case.accuracy, case.margin
    if found is None or accuracy is None or margin is None or found.smooth_interval is None:
        return Verdict("H0a", "not tested", None, None, None, ("too few checkpoints",))
    moved = accuracy.size_interval
    if moved is None or moved[0] <= 0 <= moved[1]:
        return Verdict("H0a", "not tested", None, None, None, ("accuracy did not change",))
    low, high = found.smooth_interval
    held = _held_out_share(case)
    kinds = points["kinds"].get(margin.series.quantity, {})
    best = min(kinds, key=lambda k: kinds[k]) if kinds else "unknown"
    texts: tuple[str, ...] = (
        f"smooth margin drift gives {found.smooth_share:.2f} [{low:.2f}, {high:.2f}] of the largest"
        f" accuracy step; {held:.2f} on the held-out half of the questions",
        f"it puts the change at step {found.smooth_middle:.1f}, seen at step {found.middle:.1f}"
        f" (delay {found.delay:.1f}{_band(found.delay_interval)} steps)",
        f"the margin is closest to a {best} curve; abruptness p = {margin.test.p:.3g}",
    )
    kind: Kind = "not separable"
    if high < 0.5 and best in ("sigmoid", "step") and margin.test.found:
        kind = "excluded"
    elif low > 0.5 and held > 0.5 and found.same_place and not margin.test.found:
        kind = "supported"
    else:
        texts += ("more checkpoints inside the jump, or more questions, would separate it",)
    return Verdict("H0a", kind, found.smooth_share, (low, high), margin.test.p, texts)


def _band(pair: tuple[float, float] | None) -> str:
    """Write an interval behind its number."""
    return "" if pair is None else f" [{pair[0]:.1f}, {pair[1]:.1f}]"


def _held_out_share(case: Case) -> float:
    """Repeat the mirage test on every second question, which chose nothing."""
    assert case.margin is not None
    assert case.margin.series.per_question is not None
    half = case.margin.series.per_question[:, 1::2]
    return mirage(half, case.margin.series.steps).smooth_share


def _clock(case: Case) -> Verdict:
    """H0c: is the margin abrupt in steps and smooth in path length?"""
    clocks = case.results["change_points"].facts["clocks"]
    found = clocks.get(f"margin.{case.primary}") or clocks.get(f"accuracy.{case.primary}")
    need = "vary learning rate, batch size and warm-up to see whether the jump stays in steps"
    if found is None:
        return Verdict("H0c", "not tested", None, None, None, ("no adapters to measure path", need))
    in_steps, in_path, _ = found
    text = f"abruptness p = {in_steps:.3g} in steps and {in_path:.3g} in path length of the weights"
    return Verdict("H0c", "not separable", None, None, in_path, (text, need))


def _scale(case: Case) -> Verdict:
    """H1: at w = 1 without a positive head, a change that only grows cannot move accuracy."""
    direction = next(
        (s for s in case.results["curves"].facts["direction"] if s.head == "negative"), None
    )
    change = case.results["change_points"].facts["changes"].get("accuracy.base_likra")
    need = "scale an early checkpoint and compare with a late one"
    if direction is None or change is None or case.settings.weight != 1.0:
        return Verdict("H1", "not tested", None, None, None, (need,))
    size = change.size_interval or (0.0, 0.0)
    texts = (
        f"accuracy of the direction alone changes by {change.size:.2f} [{size[0]:.2f},"
        f" {size[1]:.2f}] (abruptness p = {change.test.p:.3g}); a change of scale keeps it flat",
        f"agreement with the last direction starts at {direction.value[0]:.2f}",
    )
    turned = change.test.found and size[0] > 0
    kind: Kind = "excluded" if turned else "not separable"
    more = texts if turned else (*texts, need)
    return Verdict("H1", kind, change.size, size, change.test.p, more)
