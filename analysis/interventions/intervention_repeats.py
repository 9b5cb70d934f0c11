"""Was it found again? One answer of an intervention in several training runs: point 4 of a cause.

Runs of one design differ in their seed alone; runs of another model or other questions are another
dataset. A run finds it where what comes (or goes) lies above nothing and above its control.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from critical_phase.analysis.interventions.intervention_effect import Number
from critical_phase.analysis.interventions.intervention_minimum import SEEDS, Point
from critical_phase.analysis.many_runs.seed_spread import LEVEL


@dataclass(frozen=True, slots=True)
class Repeat:
    """One run's answer to the same question."""

    name: str
    dataset: str
    """What model and questions are: equal texts are one dataset."""
    size: Number | None
    """Share that comes, or goes; None where the run answers for another place."""
    control: tuple[float, float]
    """Interval of its control, up to what one more draw of it may do."""
    why: str = ""
    """Why there is no size."""
    aside: str = ""
    """What a reader must know of a size that counts."""

    @property
    def found(self) -> bool:
        """Say whether the run finds it."""
        if self.size is None:
            return False
        return self.size.interval[0] > max(0.0, self.control[1])


@dataclass(frozen=True, slots=True)
class Repetition:
    """All runs together."""

    seeds: int
    """Runs of the first one's design that find it."""
    tried: int
    """Runs of that design."""
    mean: Number | None
    """Mean share over the runs of that design that answer for the same place, with the t interval
    over runs; None where fewer than two do."""
    datasets: int
    """Datasets that find it in more than half of their runs."""
    datasets_tried: int
    point: Point


def repetition(repeats: Sequence[Repeat]) -> Repetition:
    """Hold runs against point 4.

    Met where at least `SEEDS` runs of the first one's design find it, the mean over all runs of
    that design that answer for the place is above nothing, and another dataset finds it too. Not
    met where enough was tried and does not find it; open where not enough was tried.

    Args:
        repeats: The run itself first.
    """
    own = repeats[0].dataset
    mine = [one for one in repeats if one.dataset == own]
    others: dict[str, list[Repeat]] = {}
    for one in repeats:
        if one.dataset != own:
            others.setdefault(one.dataset, []).append(one)
    seeds = sum(one.found for one in mine)
    again = sum(2 * sum(one.found for one in runs) > len(runs) for runs in others.values())
    sizes = [one.size.value for one in mine if one.size is not None]
    mean = _mean(sizes) if len(sizes) > 1 else None
    there = mean is not None and mean.interval[0] > 0
    enough = len(mine) >= SEEDS and bool(others)
    met = seeds >= SEEDS and there and again > 0
    found = f"found in {seeds} of {len(mine)} seeds"
    if mean is not None:
        low, high = mean.interval
        found += f" (mean {mean.value:.2f} [{low:.2f}, {high:.2f}] over {len(sizes)} seeds)"
    found += f", {SEEDS} asked; " if seeds < SEEDS else "; "
    found += f"in {again} of {len(others)} other datasets" if others else "one model and dataset"
    told = [f"{one.name}: {said}" for one in repeats if (said := one.why or one.aside)]
    found += f" ({'; '.join(told)})" if told else ""
    asks = f"held-out questions, at least {SEEDS} seeds, a second model or dataset"
    point = Point(4, asks, True if met else (False if enough else None), found)
    count = int(2 * seeds > len(mine)) + again
    return Repetition(seeds, len(mine), mean, count, 1 + len(others), point)


def _mean(values: Sequence[float]) -> Number:
    mean, count = float(np.mean(values)), len(values)
    half = float(t.ppf((1 + LEVEL) / 2, count - 1) * np.std(values, ddof=1) / count**0.5)
    return Number(mean, (mean - half, mean + half))
