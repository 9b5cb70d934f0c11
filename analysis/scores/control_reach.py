"""How much of a run's gain a control run reaches, at equal steps or an equal summed rate."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inputs import RunArrays
from critical_phase.analysis.jumps.clock import summed_rate
from critical_phase.analysis.jumps.series_change import ChangeFinder, SeriesChange
from critical_phase.analysis.scores.contexts import DOMAIN, own_contexts
from critical_phase.analysis.scores.control_match import (
    Beside,
    Course,
    OnRows,
    Points,
    beside,
    course,
    points,
)
from critical_phase.analysis.scores.control_run import ControlRun
from critical_phase.analysis.scores.curves import NEEDS, base_scores
from critical_phase.analysis.scores.margin import margins
from critical_phase.analysis.scores.normalisation import pmi_dc
from critical_phase.analysis.scores.reached import Reached, reached
from critical_phase.analysis.scores.surface import rule_hits
from critical_phase.analysis.scores.surface_removed import surface_features, without_surface
from critical_phase.analysis.series import Series, question_series
from critical_phase.analysis.settings import AnalysisSettings

BASE, POSITIVE, PMI = "base model", "positive head alone", "base model, PMI_DC"
"""What every run holds itself, to be read beside its controls."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A control beside its run at one time."""

    step: int
    """Checkpoint of the run."""
    other_step: int
    """Checkpoint of the control."""
    time: float
    """Step, or summed learning rate, of the run there."""
    other_time: float
    plain: Reached
    clean: Reached
    """The same with what surface features explain taken out of both."""


@dataclass(frozen=True, slots=True)
class ControlReach:
    """One control compared with its run."""

    control: ControlRun
    mode: str
    """How heads are combined, in both."""
    after: Compared | None
    """Right after the run's jump; None where nothing could be compared."""
    last: Compared | None
    """At the last time that both have."""
    why: str
    """Why nothing could be compared, empty otherwise."""
    jump: SeriesChange | None
    """The control's own change of accuracy, where it is abrupt, upwards and placed."""
    jump_time: float | None
    """Its place in what the two are matched by, steps or summed learning rate."""
    lines: tuple[Series, ...]
    """Accuracy of run and control over the steps of the run."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all comparisons of one run share."""

    arrays: RunArrays
    settings: AnalysisSettings
    mode: str
    """The primary mode of the run."""
    jump: SeriesChange | None
    weights: Float[np.ndarray, "draw question"]
    features: Float[np.ndarray, "feature row"]


def setting_of(
    arrays: RunArrays,
    settings: AnalysisSettings,
    mode: str,
    jump: SeriesChange | None,
    weights: Float[np.ndarray, "draw question"],
) -> Setting:
    """Collect what all comparisons share; surface features hold what was scored."""
    alone = next((c for c in own_contexts(arrays) if c.name == "answer_only"), None)
    features = surface_features(arrays.rows, None if alone is None else base_scores(alone))
    return Setting(arrays, settings, mode, jump, weights, features)


def compare(control: ControlRun, here: Setting, finder: ChangeFinder) -> ControlReach:
    """Compare one control with its run.

    The primary mode is compared; where the control lacks its positive head, `base_likra`.
    """
    mode = _mode(here.mode, control.heads)
    if mode is None:
        why = f"it has no scores of the {' and '.join(NEEDS[here.mode])} head"
        return ControlReach(control, here.mode, None, None, why, None, None, ())
    slow = control.kind == "slow"
    rates = None
    if slow:
        known = {head: summed_rate(here.arrays, head) for head in NEEDS[mode]}
        rates = {head: rate for head, rate in known.items() if rate is not None}
    scored = OnRows(
        here.arrays.rows, control.heads, control.step_lists, control.base, control.tables
    )
    own = course(here.arrays, mode, here.settings.weight, rates)
    other = course(scored, mode, here.settings.weight, control.rates if slow else None)
    pairs = beside(own, other, exact=not slow)
    at = points(own, pairs, here.jump)
    jump = _jump(control, mode, other, here, finder)
    time = None if jump is None else float(np.interp(jump.tau, other.steps, other.time))
    lines = _lines(control, mode, own, other, pairs)
    if isinstance(at, str):
        return ControlReach(control, mode, None, None, at, jump, time, lines)
    after, last = (_compared(own, other, pairs, at, i, here) for i in (at.after, at.last))
    return ControlReach(control, mode, after, last, "", jump, time, lines)


def references(here: Setting) -> dict[str, tuple[Reached, Reached]]:
    """Return what the run's own base, positive head and PMI_DC reach, right after and at the end.

    Empty where the run has no checkpoint before or after its jump.
    """
    arrays, rows = here.arrays, here.arrays.rows
    own = course(arrays, here.mode, here.settings.weight, None)
    every = np.arange(own.steps.size)
    at = points(own, Beside(every, every), here.jump)
    if isinstance(at, str):
        return {}
    base = base_scores(arrays)
    found = {BASE: np.tile(rule_hits(rows, base), (own.steps.size, 1))}
    if here.mode == "likra":
        alone = course(arrays, "sft", here.settings.weight, None)
        found[POSITIVE] = alone.hits[np.isin(alone.steps, own.steps)]
    domain = next((c for c in own_contexts(arrays) if c.name == DOMAIN), None)
    if domain is not None:
        found[PMI] = np.tile(rule_hits(rows, pmi_dc(base, base_scores(domain))), (every.size, 1))
    before = own.hits[at.before]
    pairs = {
        name: [reached(before, own.hits[i], hits[i], here.weights) for i in (at.after, at.last)]
        for name, hits in found.items()
        if len(hits) == own.steps.size
    }
    return {name: (one, two) for name, (one, two) in pairs.items()}


def _mode(primary: str, heads: tuple[str, ...]) -> str | None:
    """Choose the mode that run and control both have."""
    if set(NEEDS[primary]) <= set(heads):
        return primary
    return "base_likra" if "negative" in NEEDS[primary] and "negative" in heads else None


def _compared(
    own: Course, other: Course, pairs: Beside, at: Points, place: int, here: Setting
) -> Compared:
    """Compare at one pair of checkpoints, with and without what the surface explains."""
    mine, its = int(pairs.own[place]), int(pairs.other[place])
    plain = reached(own.hits[at.before], own.hits[mine], other.hits[its], here.weights)
    rows = here.arrays.rows
    before, after, there = (
        rule_hits(rows, without_surface(rows, scores[None], here.features)[0])
        for scores in (own.scores[at.before], own.scores[mine], other.scores[its])
    )
    clean = reached(before, after, there, here.weights)
    times = float(own.time[mine]), float(other.time[its])
    return Compared(int(own.steps[mine]), int(other.steps[its]), *times, plain, clean)


def _jump(
    control: ControlRun, mode: str, other: Course, here: Setting, finder: ChangeFinder
) -> SeriesChange | None:
    """Look for an abrupt rise of the control's own accuracy, in its own steps."""
    about = f"of {control.name}"
    hits = question_series(
        f"accuracy.{mode} {about}", f"accuracy {about}", "share of questions", "accuracy",
        other.steps, other.hits, mode=mode,
    )  # fmt: skip
    between = question_series(
        f"margin.{mode} {about}", f"margin {about}", "nats", "margin",
        other.steps, margins(here.arrays.rows, other.scores), mode=mode,
    )  # fmt: skip
    found = finder.find(hits, between)
    abrupt = found is not None and found.test.found and found.placed and found.size > 0
    return found if abrupt else None


def _lines(
    control: ControlRun, mode: str, own: Course, other: Course, pairs: Beside
) -> tuple[Series, ...]:
    """Return the accuracy of the run, and of the control at the same times."""
    if not pairs.own.size:
        return ()
    parts: Mapping[str, tuple[np.ndarray, np.ndarray]] = {
        f"accuracy.{mode}.run": (own.steps, own.hits),
        f"accuracy.{mode}.{control.name}": (own.steps[pairs.own], other.hits[pairs.other]),
    }
    return tuple(
        question_series(name, "Accuracy of the run and its controls", "share of questions",
                        "accuracy", steps, hits, mode=mode)
        for name, (steps, hits) in parts.items()
    )  # fmt: skip
