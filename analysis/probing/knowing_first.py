"""Whether the hidden states tell the right answer before the scores do, for one head."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from critical_phase.analysis.inference.bootstrap import interval
from critical_phase.analysis.jumps.series_change import ChangeFinder, SeriesChange
from critical_phase.analysis.probing.chosen_path import ChosenPath, chance_pairs, half_weights
from critical_phase.analysis.probing.probe_choice import confirmatory
from critical_phase.analysis.series import Series
from critical_phase.analysis.settings import AnalysisSettings

SMALL = 0.05
"""A gap of right pairs below this counts as none; fixed before any data."""


@dataclass(frozen=True, slots=True)
class ReadoutGap:
    """Probe minus scores of one head, on the questions that report."""

    head: str
    layer: int
    mode: str
    steps: Int[np.ndarray, " step"]
    gap: Float[np.ndarray, " step"]
    """Right pairs of the probe minus right pairs of the scores."""
    low: Float[np.ndarray, " step"]
    high: Float[np.ndarray, " step"]
    before: float
    """Mean gap at the trained checkpoints before the scores change; NaN without such."""
    before_interval: tuple[float, float]
    knows_first: bool | None
    """Does the probe read the answer before the scores change? None where that is not clear."""
    why: str
    lead: float | None
    """Place of the probe's change minus place of the scores', in steps: negative is earlier."""
    lead_interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Compared:
    """One head: its probe and the scores of one mode, question by question."""

    path: ChosenPath
    mode: str
    probe: Series
    said: Series
    gap: Series


def describe(
    one: Compared,
    surface: Float[np.ndarray, " question"],
    finder: ChangeFinder,
    settings: AnalysisSettings,
) -> ReadoutGap:
    """Put gap, order and verdict together."""
    keep = confirmatory(surface.size)
    half = half_weights(finder.weights, keep)
    gap = own_values(one.gap)[:, keep]
    low, high = interval(half @ gap.T)
    said = finder.find(one.said)
    lead, band = _lead(finder.find(one.probe), said)
    known = ReadoutGap(
        one.path.head, one.path.choice.layer, one.mode, one.gap.steps, gap.mean(axis=1), low, high,
        float("nan"), (float("nan"), float("nan")), None, "", lead, band,
    )  # fmt: skip
    if said is None or not said.test.found or not said.placed:
        return replace(known, why="the scores do not change abruptly: no before and after")
    early = (one.gap.steps > 0) & (one.gap.steps < said.interval[0] - said.width / 2)
    if not early.any():
        return replace(known, why="no trained checkpoint before the scores change")
    return _judge(known, one, early, surface, half, settings)


def _judge(
    known: ReadoutGap,
    one: Compared,
    early: Bool[np.ndarray, " step"],
    surface: Float[np.ndarray, " question"],
    half: Float[np.ndarray, "draw some"],
    settings: AnalysisSettings,
) -> ReadoutGap:
    """Decide from the checkpoints before the scores change."""
    keep = confirmatory(surface.size)
    steps = one.gap.steps[early]
    ahead = own_values(one.gap)[early][:, keep].mean(axis=0)
    read = own_values(one.probe)[np.isin(one.probe.steps, steps)][:, keep].mean(axis=0)
    low, high = (float(v) for v in interval(half @ ahead))
    above = float(interval(half @ (read - surface[keep]))[0])
    chance = _chance(one, int(steps[-1]), keep, settings)
    reads = float(read.mean()) > chance and above > 0
    gained = float(interval(half @ (own_values(one.probe)[-1, keep] - read))[0])
    end = int(one.probe.steps[-1])
    ever = reads or float(own_values(one.probe)[-1, keep].mean()) > _chance(
        one, end, keep, settings
    )
    knows: bool | None = None
    why = f"gap before the change {ahead.mean():.2f} [{low:.2f}, {high:.2f}]; the probe reads"
    why += f" {read.mean():.2f}, 95 % of permuted labels stay below {chance:.2f}"
    if reads and low > 0:
        knows = True
    elif not ever:
        why += "; it reads nothing at the last step either, which tells nothing"
    elif (
        high < SMALL
        or (not reads and gained > SMALL)
        or (known.lead_interval is not None and known.lead_interval[0] > 0)
    ):
        knows = False
    if ever and not reads:
        why += "; it does not beat both permuted labels and the answers' surface"
    return replace(
        known, before=float(ahead.mean()), before_interval=(low, high), knows_first=knows, why=why
    )


def _chance(
    one: Compared, step: int, keep: Bool[np.ndarray, " question"], settings: AnalysisSettings
) -> float:
    """Return what 95 % of permuted labels stay below at one step."""
    at = int(np.flatnonzero(one.path.steps == step)[0])
    rng = np.random.default_rng([settings.seed, 22])
    return chance_pairs(one.path, at, keep, settings.permutations, rng)


def _lead(
    probe: SeriesChange | None, said: SeriesChange | None
) -> tuple[float | None, tuple[float, float] | None]:
    """Subtract places on shared draws where both change abruptly."""
    both = [c for c in (probe, said) if c is not None and c.test.found and c.placed]
    if len(both) < 2 or both[0].draws is None or both[1].draws is None:
        return None, None
    low, high = interval(both[0].draws - both[1].draws)
    gap = max(_spacing(one) for one in both)
    lead = both[0].tau - both[1].tau
    return lead, (min(float(low), lead - gap), max(float(high), lead + gap))


def own_values(series: Series) -> Float[np.ndarray, "step question"]:
    """Return the values per question, which every series here has."""
    assert series.per_question is not None
    return series.per_question


def _spacing(change: SeriesChange) -> float:
    """Return the gap between the checkpoints around a change: no lead is finer."""
    steps = change.series.steps
    after = int(np.clip(np.searchsorted(steps, change.tau), 1, steps.size - 1))
    return float(steps[after] - steps[after - 1])
