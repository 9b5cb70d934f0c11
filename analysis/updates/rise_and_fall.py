"""Does a quantity rise and then fall again? Told on questions that did not choose the peak.

The largest of several noisy values is too large, so peak and lows are chosen on one half of the
questions, and the rise to the peak and the fall from it are measured on the other half.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inference.bootstrap import interval, question_weights

Word = Literal["rise then fall", "rise", "fall", "neither"]

FEWEST_QUESTIONS = 10
"""Questions of a half below which nothing is said."""


@dataclass(frozen=True, slots=True)
class RiseAndFall:
    """One peak between two lows."""

    places: tuple[int, int, int]
    """Checkpoints of the lowest mean before the peak, of the peak, of the lowest after it."""
    rise: float
    """Peak over the low before it, a ratio of means over the half that measures."""
    rise_interval: tuple[float, float]
    fall: float
    """Peak over the low after it."""
    fall_interval: tuple[float, float]

    @property
    def word(self) -> Word:
        """Say what the intervals leave no doubt of."""
        up, down = self.rise_interval[0] > 1, self.fall_interval[0] > 1
        if up and down:
            return "rise then fall"
        return "rise" if up else "fall" if down else "neither"


def rise_and_fall(
    values: Float[np.ndarray, "step question"], draws: int, rng: np.random.Generator
) -> RiseAndFall | None:
    """Find the peak that stands highest above the lows on both of its sides.

    Args:
        values: Per question, none below zero.
        draws: Question resamples of the half that measures.
        rng: Source of the halves and of the resamples.

    Returns:
        The peak with 95 % intervals. None with fewer than three checkpoints or too few questions
        for two halves, or where a mean is zero.
    """
    count = values.shape[1]
    if len(values) < 3 or count < 2 * FEWEST_QUESTIONS:
        return None
    order = rng.permutation(count)
    places = _places(values[:, order[: count // 2]].mean(axis=1))
    ends = values[list(places)][:, order[count // 2 :]]
    weights = question_weights(ends.shape[1], draws, rng)
    before, peak, after = np.vstack([ends.mean(axis=1), weights @ ends.T]).T
    if min(before.min(), after.min()) <= 0:
        return None
    rise, fall = peak / before, peak / after
    return RiseAndFall(places, float(rise[0]), _ends(rise[1:]), float(fall[0]), _ends(fall[1:]))


def _places(mean: Float[np.ndarray, " step"]) -> tuple[int, int, int]:
    """Choose the inner checkpoint that stands highest above the higher of the lows beside it."""
    inner = np.arange(1, mean.size - 1)
    before = np.array([mean[:t].min() for t in inner])
    after = np.array([mean[t + 1 :].min() for t in inner])
    peak = int(inner[(mean[inner] - np.maximum(before, after)).argmax()])
    return int(mean[:peak].argmin()), peak, peak + 1 + int(mean[peak + 1 :].argmin())


def _ends(drawn: Float[np.ndarray, " draw"]) -> tuple[float, float]:
    low, high = interval(drawn)
    return float(low), float(high)
