"""Does the whole analysis give the right answer where the truth is known?

Every draw of a planted world goes through `analyze` as a run of a user would; what comes
out is held against the truth of the world (`planted_truth.py`).
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from critical_phase.analysis.inference.bootstrap import interval
from critical_phase.analysis.jumps.series_change import SeriesChange
from critical_phase.analysis.pipeline import analyze
from critical_phase.analysis.planted.planted_truth import EVERY, Place, Planted, PlantedWorld
from critical_phase.analysis.planted.planted_worlds import PLANTED_WORLDS
from critical_phase.analysis.results import Analysis
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.errors import ConfigError

QUICK_WORLDS = ("mirage", "switch", "rerouting", "flat", "ramp", "catapult")
"""Worlds of the quick form, all of them cheap."""

QUICK_DRAWS = 10
"""Draws of each in the quick form."""

MODES = ("likra", "sft", "base_likra")
"""Ways to combine heads that are analysed: the headline, its control, the negative head alone."""

CLOSE = 1.0
"""Steps within which a place is right: one checkpoint interval of every world."""

THRESHOLDED = ("accuracy", "direction")
"""Quantities that are rightly steep where margins drift through zero."""


@dataclass(frozen=True, slots=True)
class Located:
    """A place with its interval, in steps."""

    tau: float
    low: float
    high: float
    drawn: tuple[float, float]
    """95 % of the draws alone, not widened to the checkpoints around the place."""

    def error(self, truth: float) -> float:
        """Return how far the place is from the truth."""
        return abs(self.tau - truth)

    def holds(self, truth: float) -> bool:
        """Say whether the interval holds the truth."""
        return self.low <= truth <= self.high

    def draws_hold(self, truth: float) -> bool:
        """Say whether the draws alone hold it."""
        return self.drawn[0] <= truth <= self.drawn[1]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the analysis said of one draw, and what was planted."""

    number: int
    truth: float | None
    """Planted place of the jump in steps."""
    margin_truth: float | None
    """Planted place of the margin's change."""
    verdicts: dict[str, str]
    jump: Located | None
    """The jump of the findings."""
    margin: Located | None
    """The margin of the primary mode, where it is abrupt and placed."""
    abrupt: tuple[Place, ...]
    """Abrupt rows of the ranked table."""
    failed: tuple[str, ...]
    """Measures that raised an error."""
    seconds: float


def settings_of(world: PlantedWorld, seed: int) -> AnalysisSettings:
    """Return cheap settings: enough draws for a 95 % interval and for p of .05."""
    return AnalysisSettings(
        seed=seed,
        draws=200,
        permutations=40,
        smooth_draws=100,
        modes=MODES,
        weight=world.weight,
    )


def world_named(name: str) -> PlantedWorld:
    """Look a world up.

    Raises:
        ConfigError: No such world.
    """
    if name not in PLANTED_WORLDS:
        raise ConfigError(f"asked for world {name}, known are {', '.join(PLANTED_WORLDS)}")
    return PLANTED_WORLDS[name]


def run_draw(name: str, number: int, seed: int = 0) -> Outcome:
    """Make one draw of a world and analyse it.

    Args:
        name: World.
        number: Which draw; equal numbers give equal runs.
        seed: Start of all draws.

    Returns:
        What the analysis said.
    """
    world = world_named(name)
    rng = np.random.default_rng([seed, crc32(name.encode()), number])
    planted = world.make(rng)
    settings = settings_of(world, int(rng.integers(2**31)))
    start = time.perf_counter()
    found = analyze(planted.run, settings, measures=(*EVERY, *world.measures))
    return _outcome(number, planted, found, time.perf_counter() - start)


def _outcome(number: int, planted: Planted, found: Analysis, seconds: float) -> Outcome:
    """Read what the findings say."""
    points = found.measures["change_points"].facts
    changes: dict[str, SeriesChange] = points["changes"]
    accuracy, margin = (changes.get(f"{one}.{points['primary']}") for one in ("accuracy", "margin"))
    return Outcome(
        number,
        planted.tau,
        planted.margin_tau,
        {one["hypothesis"]: one["verdict"] for one in found.findings["verdicts"]},
        None if found.findings["jump"] is None else _located(accuracy),
        _located(margin),
        tuple(
            Place(s.quantity, s.layer, s.attention_head)
            for row in found.measures["changes"].facts["ranked"]
            if row.abrupt
            for s in (row.change.series,)
        ),
        tuple(str(one["measure"]) for one in found.findings.get("failed", ())),
        seconds,
    )


def _located(change: SeriesChange | None) -> Located | None:
    """Return the place of an abrupt change, None where it has none."""
    if change is None or change.draws is None or not (change.test.found and change.placed):
        return None
    low, high = interval(change.draws)
    return Located(change.tau, *change.interval, (float(low), float(high)))


def faults(world: PlantedWorld, outcome: Outcome) -> tuple[str, ...]:
    """Return what is wrong with an answer: verdicts, and a jump that is missed or made up."""
    wrong = list(world.wrong(outcome.verdicts))
    wrong += [f"measure {name} failed" for name in outcome.failed]
    if world.jump is True and outcome.jump is None:
        wrong.append("no jump found")
    if world.jump is False and outcome.jump is not None:
        wrong.append("a jump where there is none")
    return tuple(wrong)


def false_alarm(world: PlantedWorld, outcome: Outcome) -> bool | None:
    """Say whether something smooth was called abrupt, None where something is abrupt."""
    if world.alarm is None:
        return None
    if world.alarm == "any":
        return outcome.jump is not None or bool(outcome.abrupt)
    return any(place.quantity.split(".")[0] not in THRESHOLDED for place in outcome.abrupt)


@dataclass(frozen=True, slots=True)
class Share:
    """A counted share."""

    count: int
    total: int

    @property
    def value(self) -> float | None:
        """Return the share, None where it does not apply."""
        return self.count / self.total if self.total else None


def _share(flags: Sequence[bool]) -> Share:
    return Share(sum(flags), len(flags))


@dataclass(frozen=True, slots=True)
class WorldScore:
    """How often the analysis was right in one world."""

    world: str
    draws: int
    right: Share
    """Every verdict acceptable, and a jump reported exactly where there must be one."""
    named: Share
    """The planted hypothesis is `supported`."""
    false_alarm: Share
    """Draws in which something smooth is called abrupt."""
    tau_within_one_step: Share
    """Jump placed within one step; a missed jump counts as a miss."""
    coverage: Share
    """Intervals of the jump that hold the planted place, where a jump is found."""
    drawn_coverage: Share
    """The same of its draws alone, not widened to the checkpoints around the place."""
    margin_within_one_step: Share
    """The same three for the margin."""
    margin_coverage: Share
    margin_drawn_coverage: Share
    located: Share
    """Draws in which every planted row is found abrupt."""
    stray: Share
    """Rows where nothing is planted that are called abrupt, over rows and draws."""
    wrong: tuple[tuple[str, int], ...]
    """What was wrong in how many draws, the most frequent first."""
    verdicts: dict[str, dict[str, int]]
    """Counts of verdicts, by hypothesis."""
    alarms: tuple[tuple[str, int], ...]
    """Rows that were falsely called abrupt, in how many draws."""
    missed: tuple[tuple[str, int], ...]
    """Planted rows that were not found abrupt, in how many draws."""
    seconds: float
    """Mean time of one analysis."""


def score(world: PlantedWorld, outcomes: Sequence[Outcome]) -> WorldScore:
    """Count over the draws of one world."""
    found = [faults(world, one) for one in outcomes]
    alarms = [flag for one in outcomes if (flag := false_alarm(world, one)) is not None]
    stray = [_stray(world, one) for one in outcomes]
    missed = [[p for p in world.abrupt if p not in one.abrupt] for one in outcomes]
    jumps = _placed([(one.truth, one.jump) for one in outcomes])
    margins = _placed([(one.margin_truth, one.margin) for one in outcomes])
    named = [one.verdicts.get(world.named) == "supported" for one in outcomes if world.named]
    return WorldScore(
        world.name,
        len(outcomes),
        _share([not one for one in found]),
        _share(named),
        _share(alarms),
        *jumps,
        *margins,
        _share([not one for one in missed] if world.abrupt else []),
        Share(sum(map(len, stray)) if world.still else 0, len(world.still) * len(outcomes)),
        _common([text for one in found for text in one]),
        _verdict_counts(outcomes),
        _common([_name(place) for one in stray for place in one]),
        _common([_name(place) for one in missed for place in one]),
        float(np.mean([one.seconds for one in outcomes])) if outcomes else float("nan"),
    )


def _stray(world: PlantedWorld, outcome: Outcome) -> list[Place]:
    """Return the rows that are called abrupt where nothing is planted."""
    if world.alarm == "any":
        return list(outcome.abrupt)
    if world.alarm is not None:
        return [p for p in outcome.abrupt if p.quantity.split(".")[0] not in THRESHOLDED]
    return [place for place in outcome.abrupt if place in world.still]


def _placed(
    pairs: Sequence[tuple[float | None, Located | None]],
) -> tuple[Share, Share, Share]:
    """Count places within one step over all draws, and intervals that hold over those found."""
    known = [(truth, place) for truth, place in pairs if truth is not None]
    close = [place is not None and place.error(truth) <= CLOSE for truth, place in known]
    held = [place.holds(truth) for truth, place in known if place is not None]
    drawn = [place.draws_hold(truth) for truth, place in known if place is not None]
    return _share(close), _share(held), _share(drawn)


def _common(texts: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Count equal texts, the most frequent first."""
    return tuple(sorted(Counter(texts).items(), key=lambda pair: (-pair[1], pair[0])))


def _name(place: Place) -> str:
    """Write a row of the ranked table."""
    layer = "" if place.layer is None else f" layer {place.layer}"
    head = "" if place.attention_head is None else f" attention head {place.attention_head}"
    return f"{place.quantity}{layer}{head}"


def _verdict_counts(outcomes: Sequence[Outcome]) -> dict[str, dict[str, int]]:
    """Count verdicts by hypothesis."""
    names = list(dict.fromkeys(h for one in outcomes for h in one.verdicts))
    return {h: dict(_common([one.verdicts[h] for one in outcomes if h in one.verdicts]))
            for h in names}  # fmt: skip
