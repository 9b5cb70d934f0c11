"""Does a smooth drift of every margin already explain a jump in accuracy?

Reference: 2304.15004; counterfactual curves as in docs/methods.md.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Real

from critical_phase.analysis.inference.bootstrap import interval

SAME_PLACE = 0.1
"""Share of the series within which two changes are at the same place; fixed in advance."""


@dataclass(frozen=True, slots=True)
class Mirage:
    """Largest step of counterfactual accuracy over largest step observed."""

    smooth_share: float
    """Near 1: no abrupt change of margins is needed for the accuracy curve."""
    smooth_interval: tuple[float, float] | None
    """95 % question bootstrap."""
    smooth_gap: float
    """Largest distance of the smooth-drift curve to accuracy."""
    common_share: float
    """The same when all questions move by the mean; near 1 in a true switch too."""
    common_gap: float
    """Largest distance of the common-drift curve; large says that questions differ."""
    observed: Float[np.ndarray, " step"]
    """Accuracy at the steps used."""
    middle: float
    """Step at which observed accuracy is halfway for good."""
    smooth_middle: float
    """The same for the smooth-drift curve."""
    delay_interval: tuple[float, float] | None
    """95 % question bootstrap of `delay`."""
    delay_tests: tuple[float, float] | None
    """5 and 95 % quantiles of the same: two one-sided tests of 5 % of the same place."""
    span: float
    """Last step minus first."""
    smooth: Float[np.ndarray, " step"]
    """Accuracy if margins drifted linearly between their ends."""
    common: Float[np.ndarray, " step"]
    """Accuracy if every question moved by the mean margin change."""

    @property
    def delay(self) -> float:
        """Return how many steps later than under a smooth drift accuracy is halfway."""
        return self.middle - self.smooth_middle

    @property
    def same_place(self) -> bool | None:
        """Say whether a smooth drift puts the change where it was seen; None where that is open.

        Both one-sided tests must place the delay within `SAME_PLACE` of the series, or one must
        place it beyond.
        A step as large at another place explains nothing: margins that stay near zero and
        then move give a large counterfactual step at the start.
        """
        low, high = self.delay_tests or (self.delay, self.delay)
        reach = SAME_PLACE * self.span
        if -reach <= low and high <= reach:
            return True
        return False if low > reach or high < -reach else None


def smooth_drift(
    margins: Float[np.ndarray, "step question"], time: Real[np.ndarray, " step"]
) -> Float[np.ndarray, "step question"]:
    """Move each margin linearly between the means of its first and last three checkpoints."""
    ends = min(3, margins.shape[0] // 2)
    before, after = margins[:ends].mean(axis=0), margins[-ends:].mean(axis=0)
    start, stop = float(time[:ends].mean()), float(time[-ends:].mean())
    share = np.clip((time - start) / (stop - start), 0.0, 1.0)[:, None]
    return np.asarray(before + share * (after - before))


def common_drift(
    margins: Float[np.ndarray, "step question"],
) -> Float[np.ndarray, "step question"]:
    """Move every question's first margin by the mean change."""
    moved: np.ndarray = margins[0] + (margins - margins[0]).mean(axis=1, keepdims=True)
    return moved


def right(margins: Float[np.ndarray, "step question"]) -> Float[np.ndarray, "step question"]:
    """Turn margins into right or wrong; a margin of zero is a tie of two."""
    return np.asarray((margins > 0) + 0.5 * (margins == 0))


def mirage(
    margins: Float[np.ndarray, "step question"],
    time: Real[np.ndarray, " step"],
    weights: Float[np.ndarray, "draw question"] | None = None,
) -> Mirage:
    """Compare accuracy with what smooth margins would give.

    Args:
        margins: Right minus best wrong, per step and question; no undefined step.
        time: Steps, or another clock such as the path length of the weights.
        weights: Question resamples for the interval of the share.

    Returns:
        Shares, gaps and the two counterfactual curves.
    """
    clock = np.asarray(time, dtype=np.float64)
    curves = (
        right(margins),
        right(smooth_drift(margins, clock)),
        right(common_drift(margins)),
    )
    observed, smooth, common = (each.mean(axis=1) for each in curves)
    sign = 1.0 if observed[-1] >= observed[0] else -1.0
    halfway = [float(middles(sign * c[None], clock)[0]) for c in (observed, smooth)]
    largest = [float(np.max(sign * np.diff(c))) for c in (observed, smooth, common)]
    band, delays, tests = None, None, None
    if weights is not None and largest[0] > 0:
        drawn = [sign * (weights @ c.T) for c in curves[:2]]
        steps = [np.max(np.diff(c, axis=1), axis=1) for c in drawn]
        low, high = interval(steps[1] / np.maximum(steps[0], 1e-12))
        band = (float(low), float(high))
        apart = middles(drawn[0], clock) - middles(drawn[1], clock)
        delays, tests = (
            (float(low), float(high)) for low, high in (interval(apart), interval(apart, 0.90))
        )
    return Mirage(
        _ratio(largest[1], largest[0]),
        band,
        float(np.max(np.abs(smooth - observed))),
        _ratio(largest[2], largest[0]),
        float(np.max(np.abs(common - observed))),
        observed,
        halfway[0],
        halfway[1],
        delays,
        tests,
        float(clock[-1] - clock[0]),
        smooth,
        common,
    )


def middles(
    curves: Float[np.ndarray, "n step"], time: Float[np.ndarray, " step"]
) -> Float[np.ndarray, " n"]:
    """Return where rising curves pass halfway between their ends for the last time."""
    ends = min(3, curves.shape[1] // 2)
    level = (curves[:, :ends].mean(axis=1) + curves[:, -ends:].mean(axis=1)) / 2
    below = curves < level[:, None]
    # The last checkpoint below the level, and the share of the next interval to it.
    last = curves.shape[1] - 1 - np.argmax(below[:, ::-1], axis=1)
    last = np.where(below.any(axis=1), np.minimum(last, curves.shape[1] - 2), 0)
    row = np.arange(len(curves))
    here, there = curves[row, last], curves[row, last + 1]
    share = np.clip((level - here) / np.where(there > here, there - here, 1.0), 0.0, 1.0)
    found: np.ndarray = time[last] + share * (time[last + 1] - time[last])
    return found


def _ratio(top: float, bottom: float) -> float:
    """Divide, NaN where nothing moved."""
    return top / bottom if bottom > 0 else float("nan")
