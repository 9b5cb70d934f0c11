"""Is the score difference that decides above the noise of computing it?

At w = 1 the argmax ignores the size of a score change, so noise that the change outgrows
looks exactly like a critical phase.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inputs import Rows, mean_by_question

ROUNDING = 4 * 2.0**-24
"""Relative error allowed to one float32 log-probability, before it is summed over tokens."""


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """Signal of score changes against the noise of computing them."""

    noise: float
    """Standard deviation of one score by computation alone, in nats."""
    signal: Float[np.ndarray, " step"]
    """Standard deviation of score changes within questions."""
    steps: Int[np.ndarray, " step"]
    jitter: float
    """Standard deviation of one score around the line through the checkpoints beside it, in
    nats: at least the noise that is new at every checkpoint; NaN with fewer than three."""

    @property
    def ratio(self) -> Float[np.ndarray, " step"]:
        """Return signal over `noise` of a difference of two scores."""
        return np.asarray(self.signal / (np.sqrt(2) * self.noise))

    @property
    def jitter_ratio(self) -> Float[np.ndarray, " step"]:
        """Return signal over `jitter` of a difference of two scores."""
        return np.asarray(self.signal / (np.sqrt(2) * max(self.jitter, self.noise)))


def noise_floor(
    rows: Rows,
    base: Float[np.ndarray, " row"],
    steps: Int[np.ndarray, " step"],
    scores: Float[np.ndarray, "step row"],
) -> NoiseFloor:
    """Compare score changes with float32 rounding and with step 0 against the base.

    An untrained adapter changes nothing, so its difference to the base is noise alone; where
    the forward pass repeats exactly that is zero by construction and shows nothing.
    """
    rounding = _rounding(rows, base)
    untrained = scores[steps == 0] - base
    repeat = float(untrained.std() / np.sqrt(2)) if untrained.size else 0.0
    change = scores - base
    inside = change - mean_by_question(rows, change)[:, rows.question]
    noise, jitter = max(rounding, repeat, 1e-12), _jitter(inside[steps > 0], steps[steps > 0])
    return NoiseFloor(noise, inside.std(axis=1), steps, jitter)


def at_rest(
    rows: Rows, base: Float[np.ndarray, " row"], scores: Float[np.ndarray, "step row"]
) -> Float[np.ndarray, "step row"]:
    """Take steps that differ from the base by float32 rounding alone as the base itself.

    The same weights scored in other batches round otherwise, and a difference to the base
    would then rank noise; taken as the base, it is all ties.
    """
    inside = scores - base - mean_by_question(rows, scores - base)[:, rows.question]
    same = inside.std(axis=1) <= np.sqrt(2) * _rounding(rows, base)
    return np.where(same[:, None], base, scores)


def _rounding(rows: Rows, base: Float[np.ndarray, " row"]) -> float:
    """Return the standard deviation of one score by float32 rounding, in nats."""
    return ROUNDING * float(np.mean(np.abs(base) * np.sqrt(rows.tokens)))


def _jitter(inside: Float[np.ndarray, "step row"], steps: Int[np.ndarray, " step"]) -> float:
    """Return how far a checkpoint is typically from the line through its neighbours."""
    if steps.size < 3:
        return float("nan")
    share = ((steps[1:-1] - steps[:-2]) / (steps[2:] - steps[:-2]))[:, None]
    off = inside[1:-1] - (1 - share) * inside[:-2] - share * inside[2:]
    unit = np.sqrt(1 + share[:, 0] ** 2 + (1 - share[:, 0]) ** 2)
    return float(np.median(off.std(axis=1) / unit))


def direction_agreement(
    rows: Rows, change: Float[np.ndarray, "step row"]
) -> Float[np.ndarray, "step question"]:
    """Correlate each change with the last one within every question; NaN where nothing moved."""
    inside = change - mean_by_question(rows, change)[:, rows.question]
    count = np.bincount(rows.question)
    dot = mean_by_question(rows, inside * inside[-1]) * count
    size = np.sqrt(mean_by_question(rows, inside**2) * count)
    scale = size * size[-1]
    result: np.ndarray = np.divide(dot, scale, out=np.zeros_like(dot), where=scale > 0)
    result[(scale == 0).all(axis=1)] = np.nan
    return result
