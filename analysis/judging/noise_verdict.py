"""H0b: do score changes cross the noise of computing them where accuracy rises?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from critical_phase.analysis.judging.hypotheses import Case, Kind, Verdict
from critical_phase.analysis.judging.noise_evidence import BEFORE, NoiseEvidence, noise_evidence
from critical_phase.analysis.judging.thresholds import CLEAR, EQUAL
from critical_phase.analysis.jumps.series_change import SeriesChange
from critical_phase.analysis.scores.contexts import AGAIN
from critical_phase.analysis.scores.noise_floor import NoiseFloor
from critical_phase.analysis.scores.second_scoring import SecondScoring
from critical_phase.analysis.scores.second_scoring_views import Twice
from critical_phase.analysis.scores.second_scorings import COMMAND

FINER = ("float64", "float32")
"""Numeric types that compute more finely than what runs usually use, the finest first."""


def rounding(case: Case) -> Verdict:
    """Decide from a second scoring of the same checkpoints; without one nothing is decided.

    Excluded where changes are far above noise before the jump and the second scoring has it at
    the same place. Supported where changes first rise above noise at the jump and a scoring
    in a finer type is better before it. Without a jump: excluded where noise could hide none.
    All heads of the mode count.
    """
    scorings = _facts(case, "second_scoring").get("second_scoring", {})
    if not scorings or not case.arrays.heads:
        return _unknown(case)
    own = scorings.get(AGAIN, {})
    heads: dict[str, SecondScoring] = own.get("heads", {})
    twice: Twice | None = own.get("modes", {}).get(case.primary)
    if twice is None or not set(case.parts) <= heads.keys():
        return _unknown(case)
    if all(heads[head].identical for head in case.parts):
        text = "both scorings are equal to the last bit, so no noise was shown at all"
        return Verdict("H0b", "not tested", None, None, None, (text,))
    if case.jump is None:
        return _without_jump([heads[head] for head in case.parts], twice)
    finer = _finer(scorings, case.primary)
    found = [_of_head(case, case.jump, head, heads[head], twice, finer) for head in case.parts]
    kind: Kind = "excluded" if all(one.killed for one in found) else "not separable"
    if any(one.predicted and not one.killed for one in found):
        kind = "supported"
    at = min(range(len(found)), key=lambda i: _least(found[i]))
    least, texts = found[at], dict.fromkeys(text for one in found for text in one.texts)
    if not np.isfinite(least.least):
        return Verdict("H0b", kind, None, None, None, tuple(texts))
    name = f"least signal over noise before the jump, {case.parts[at]} head"
    return Verdict(
        "H0b", kind, least.least, least.least_interval, None, tuple(texts), name, "times the noise"
    )


def _least(found: NoiseEvidence) -> float:
    """Return the least signal over noise, -1 where it is not known."""
    return found.least if np.isfinite(found.least) else -1.0


def _of_head(
    case: Case,
    jump: SeriesChange,
    head: str,
    again: SecondScoring,
    twice: Twice,
    finer: Twice | None,
) -> NoiseEvidence:
    """Hold the noise of one head against the jump."""
    return noise_evidence(
        again,
        twice,
        _facts(case, "curves").get("direction_accuracy", {}).get(head),
        case.results["changes"].facts["weights"],
        place=_place(jump),
        finer=finer,
        head=head,
    )


def _without_jump(heads: Sequence[SecondScoring], twice: Twice) -> Verdict:
    """Ask whether noise could hide a change: it cannot where changes are far above it."""
    again = min(heads, key=lambda one: float(one.snr.min()))
    at = int(np.argmin(again.snr))
    band = (float(again.low[at]), float(again.high[at]))
    clear = all(bool((one.low >= CLEAR).all()) and one.steps.size >= BEFORE for one in heads)
    text = (
        f"signal over the noise of scoring again is at least {again.snr[at]:.3g} at"
        f" {again.steps.size} steps ({CLEAR:.0f} is asked); {_curve_text(twice)}"
    )
    kind: Kind = "excluded" if clear and same_curve(twice) else "not separable"
    return Verdict(
        "H0b", kind, float(again.snr[at]), band, None, (text,),
        "least signal over noise of score changes", "times the noise",
    )  # fmt: skip


def _finer(scorings: Mapping[str, Any], mode: str) -> Twice | None:
    """Return the accuracy of a mode in a scoring of a finer numeric type, where there is one."""
    others = [scorings.get(f"{AGAIN}-{kind}", {}).get("modes", {}).get(mode) for kind in FINER]
    return next((one for one in others if one is not None), None)


def _place(jump: SeriesChange) -> tuple[float, float]:
    """Return where a jump may begin and where it may end, in steps."""
    reach = jump.width / 2
    return (
        min(jump.interval[0], jump.tau - reach),
        max(jump.interval[1], jump.tau + reach),
    )


def same_curve(twice: Twice) -> bool:
    """Say whether both scorings have one curve: no shift in time, no gap of accuracy."""
    low, high = twice.gap_interval
    level = low >= -EQUAL and high <= EQUAL
    if twice.shift_interval is None:
        return level
    early, late = twice.shift_interval
    return level and -twice.spacing <= early and late <= twice.spacing


def _curve_text(twice: Twice) -> str:
    """Compare the two curves in words."""
    low, high = twice.gap_interval
    text = f"accuracy differs by {twice.gap:.3f} [{low:.3f}, {high:.3f}] at most"
    if twice.shift_interval is None:
        return text
    early, late = twice.shift_interval
    return f"{text}, its half way by [{early:.2f}, {late:.2f}] steps"


def _unknown(case: Case) -> Verdict:
    """Show what rounding alone would do; a second scoring, which would settle it, is missing."""
    more = (
        f"needs a second scoring of the same checkpoints in other batches ({COMMAND}): step 0"
        " repeats the base exactly by construction, so it shows no noise"
    )
    floor = floor_of(case)
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
    return Verdict(
        "H0b", "not tested", least, None, None, tuple(texts),
        f"least score change over the expected float32 rounding, {case.head} head", "times",
    )  # fmt: skip


def floor_of(case: Case) -> NoiseFloor | None:
    """Return the noise floor of the head under study, None without a trained checkpoint."""
    floors: Mapping[str, NoiseFloor] = case.results["curves"].facts["floors"]
    floor = floors.get(case.head) if case.arrays.heads else None
    return floor if floor is not None and (floor.steps > 0).any() else None


def _facts(case: Case, measure: str) -> Mapping[str, Any]:
    result = case.results.get(measure)
    return {} if result is None else result.facts
