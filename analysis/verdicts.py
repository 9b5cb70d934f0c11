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
from .noise_floor import NoiseFloor
from .results import MeasureResult
from .series_change import SeriesChange
from .settings import AnalysisSettings

SMOOTH_KINDS = ("line", "saturating", "hinge")
"""Kinds of margin curve that a mirage predicts."""

CLEAR = 10
"""Score change over noise above which noise cannot make accuracy rise."""


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
    """H0b: show signal over noise; a second scoring, which would settle it, is not stored."""
    more = (
        "needs a second scoring of the same checkpoints, in another batch size or precision: step"
        " 0 repeats the base exactly by construction, so it shows no noise"
    )
    floor = _floor(case)
    if floor is None:
        return Verdict("H0b", "not tested", None, None, None, ("no trained checkpoint", more))
    trained = floor.steps > 0
    least = float(np.min(floor.ratio[trained]))
    texts = [
        f"score changes are at least {least:.3g} times the expected float32 rounding after step 0",
        more,
    ]
    if np.isfinite(floor.jitter):
        ratio = floor.jitter_ratio[trained]
        texts.insert(
            1,
            f"and {ratio.min():.3g} (least) to {ratio.max():.3g} times what differs anew between"
            " neighbouring checkpoints, which training adds to as well",
        )
    return Verdict("H0b", "not tested", least, None, None, tuple(texts))


def _floor(case: Case) -> NoiseFloor | None:
    """Return the noise floor of the head under study, None without a trained checkpoint."""
    floors: Mapping[str, NoiseFloor] = case.results["curves"].facts["floors"]
    floor = floors.get(case.head) if case.arrays.heads else None
    return floor if floor is not None and (floor.steps > 0).any() else None


def _mirage(case: Case) -> Verdict:
    """H0a: does a smooth drift of margins explain the largest step of accuracy?

    Decided on the questions with even numbers and confirmed on those with odd numbers.
    """
    points = case.results["change_points"].facts
    found: Mirage | None = points["mirages"].get((case.primary, "steps"))
    accuracy, margin = case.accuracy, case.margin
    if found is None or accuracy is None or margin is None or found.smooth_interval is None:
        return Verdict("H0a", "not tested", None, None, None, ("too few checkpoints",))
    moved = accuracy.size_interval
    if moved is None:
        return Verdict("H0a", "not tested", None, None, None, ("accuracy could not be placed",))
    if moved[0] <= 0 <= moved[1]:
        return Verdict("H0a", "not tested", None, None, None, ("accuracy did not change",))
    even, odd = _half(case, margin, 0), _half(case, margin, 1)
    if even is None or odd is None:
        return Verdict("H0a", "not tested", None, None, None, ("too few questions to split",))
    kinds = points["kinds"].get(margin.series.quantity, {})
    best = min(kinds, key=lambda k: kinds[k]) if kinds else "unknown"
    texts: tuple[str, ...] = (
        f"smooth margin drift gives {_share(found)} of the largest accuracy step;"
        f" {_share(even)} on even questions, which decide, and {_share(odd)} on odd ones, which"
        " confirm",
        f"it puts the change at step {found.smooth_middle:.1f}, seen at step {found.middle:.1f}"
        f" (delay {found.delay:.1f}{_band(found.delay_interval)} steps)",
        f"the margin is closest to a {best} curve; abruptness p = {margin.test.p:.3g}",
    )
    kind = _mirage_kind((even, odd), best, abrupt=margin.test.found)
    if kind == "not separable":
        texts += ("more checkpoints inside the jump, or more questions, would separate it",)
    p = case.adjusted(margin.series.quantity)
    return Verdict("H0a", kind, found.smooth_share, found.smooth_interval, p, texts)


def _mirage_kind(halves: tuple[Mirage, Mirage], best: str, *, abrupt: bool) -> Kind:
    """Decide on the first half and confirm on the second."""
    bands = [half.smooth_interval or (0.0, np.inf) for half in halves]
    if all(high < 0.5 for _, high in bands) and best in ("sigmoid", "step") and abrupt:
        return "excluded"
    explains = all(low > 0.5 for low, _ in bands) and all(half.same_place for half in halves)
    if explains and best in SMOOTH_KINDS and not abrupt:
        return "supported"
    return "not separable"


def _half(case: Case, margin: SeriesChange, first: int) -> Mirage | None:
    """Run the mirage test on every second question, None where it cannot be run."""
    assert margin.series.per_question is not None
    part = margin.series.per_question[:, first::2]
    weights = case.results["changes"].facts["weights"][:, first::2]
    total = weights.sum(axis=1, keepdims=True)
    if not part.size or not (total > 0).all():
        return None
    found = mirage(part, margin.series.steps, weights / total)
    return found if found.smooth_interval is not None else None


def _share(found: Mirage) -> str:
    """Write the share with its interval."""
    low, high = found.smooth_interval or (float("nan"), float("nan"))
    return f"{found.smooth_share:.2f} [{low:.2f}, {high:.2f}]"


def _band(pair: tuple[float, float] | None, digits: int = 1) -> str:
    """Write an interval behind its number."""
    return "" if pair is None else f" [{pair[0]:.{digits}f}, {pair[1]:.{digits}f}]"


def _clock(case: Case) -> Verdict:
    """H0c: is the margin abrupt in steps and smooth in path length?"""
    clocks = case.results["change_points"].facts["clocks"]
    found = clocks.get(f"margin.{case.primary}") or clocks.get(f"accuracy.{case.primary}")
    need = "vary learning rate, batch size and warm-up to see whether the jump stays in steps"
    if found is None:
        return Verdict("H0c", "not tested", None, None, None, ("no adapters to measure path", need))
    in_steps, in_path, _ = found
    text = f"abruptness p = {in_steps:.3g} in steps and {in_path:.3g} in path length of the weights"
    return Verdict("H0c", "not separable", None, None, None, (text, need))


def _scale(case: Case) -> Verdict:
    """H1: at w = 1 without a positive head, a change that only grows cannot move accuracy.

    Noise that the change outgrows can, so exclusion also asks for changes far above it.
    """
    direction = next(
        (s for s in case.results["curves"].facts["direction"] if s.head == "negative"), None
    )
    change = case.results["change_points"].facts["changes"].get("accuracy.base_likra")
    need = "scale an early checkpoint and compare with a late one"
    if direction is None or change is None or case.settings.weight != 1.0:
        return Verdict("H1", "not tested", None, None, None, (need,))
    size = change.size_interval
    p = case.adjusted(change.series.quantity)
    clear, above = _above_noise(case, change.tau)
    texts = (
        f"accuracy of the direction alone changes by {change.size:.2f}{_band(size, 2)}"
        f" (abruptness, adjusted p = {'unknown' if p is None else f'{p:.3g}'});"
        " a change of scale keeps it flat",
        above,
        f"agreement with the last direction starts at {direction.value[0]:.2f}",
    )
    abrupt = change.test.found and p is not None and p <= 0.05
    turned = abrupt and size is not None and size[0] > 0
    kind: Kind = "excluded" if turned and clear else "not separable"
    more = texts if kind == "excluded" else (*texts, need)
    return Verdict("H1", kind, change.size, size, p, more)


def _above_noise(case: Case, tau: float) -> tuple[bool, str]:
    """Say whether score changes are far above rounding always, and above jitter at a step."""
    floor = _floor(case)
    if floor is None:
        return False, "no trained checkpoint"
    trained = floor.steps > 0
    rounding = float(np.min(floor.ratio[trained]))
    at = int(np.argmin(np.abs(floor.steps[trained] - tau)))
    jitter = float(floor.jitter_ratio[trained][at])
    text = (
        f"score changes are at least {rounding:.3g} times float32 rounding, and at the jump"
        f" {jitter:.3g} times what differs anew between checkpoints ({CLEAR} is asked of both);"
        " the noise of the forward pass itself was not measured (H0b)"
    )
    return rounding >= CLEAR and jitter >= CLEAR, text
