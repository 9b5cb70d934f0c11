"""Means and spreads over seeds of one design: seeds outside, the same questions inside."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import chi2, norm, t

from critical_phase.analysis.inference.bootstrap import interval

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Spread:
    """Places of a change over the seeds that have one."""

    count: int
    mean: float
    mean_interval: tuple[float, float] | None
    """95 % over seeds and questions; None with fewer than two seeds."""
    deviation: float
    """Standard deviation over seeds; NaN with fewer than two."""
    deviation_interval: tuple[float, float] | None
    """95 %, taking places for normal over seeds."""
    located: float
    """Standard deviation that the location error of single seeds alone would give."""
    p: float
    """Chance of such a spread if all seeds change at one place; NaN with fewer than two."""


def two_way_draws(
    values: Float[np.ndarray, "seed ..."],
    draws: Float[np.ndarray, "seed draw ..."],
    rng: np.random.Generator,
) -> Float[np.ndarray, "draw ..."]:
    """Resample seeds and questions of a mean over seeds.

    Seeds are drawn with replacement and their deviation widened from the percentile bootstrap
    of few values to Student's t; question resamples are those of the draws, the same for all
    seeds.

    Args:
        values: The quantity per seed, at least two.
        draws: The same on every resample of the questions.
        rng: Source of the resampled seeds.

    Returns:
        Draws of the mean over seeds.
    """
    seeds, count = draws.shape[:2]
    widen = np.sqrt(seeds / (seeds - 1)) * t.ppf((1 + LEVEL) / 2, seeds - 1)
    widen /= norm.ppf((1 + LEVEL) / 2)
    picked = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=count) / seeds
    mean = values.mean(axis=0)
    over_seeds = np.tensordot(picked, values - mean, axes=1)
    over_questions = draws.mean(axis=0) - draws.mean(axis=(0, 1))
    found: np.ndarray = mean + widen * over_seeds + over_questions
    return found


def spread(
    places: Float[np.ndarray, " seed"],
    draws: Float[np.ndarray, "seed draw"],
    gap: float,
    rng: np.random.Generator,
) -> Spread:
    """Describe the places of a change over seeds.

    Args:
        places: Place per seed, in steps; seeds without a change are left out.
        draws: Places on the shared question resamples, with each seed's own training noise.
        gap: Spacing of the checkpoints around the places: no place is known better.
        rng: Source of resampled seeds.
    """
    count = places.size
    mean = float(places.mean()) if count else float("nan")
    if count < 2:
        nothing = float("nan")
        return Spread(count, mean, None, nothing, None, nothing, nothing)
    low, high = (float(end) for end in interval(two_way_draws(places, draws, rng)))
    half = gap / 2
    deviation = float(places.std(ddof=1))
    edges = chi2.ppf([(1 + LEVEL) / 2, (1 - LEVEL) / 2], count - 1)
    ends = deviation * np.sqrt((count - 1) / edges)
    errors = draws - draws.mean(axis=1, keepdims=True) + rng.uniform(-half, half, draws.shape)
    alone = errors.std(axis=0, ddof=1)
    p = float((1 + np.sum(alone >= deviation)) / (1 + alone.size))
    return Spread(
        count, mean, (min(low, mean - half), max(high, mean + half)), deviation,
        (float(ends[0]), float(ends[1])), float(np.sqrt(np.mean(alone**2))), p,
    )  # fmt: skip
