"""Does a curve change faster than a smooth curve with the same noise would?

The null is simulated from the best smooth fit; see docs/methods.md. Checkpoints are
never permuted: that rejects every ramp.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import cholesky, solve_triangular

from critical_phase.analysis.judging.thresholds import LEVEL
from critical_phase.analysis.jumps.noise_model import TAILS, curve_covariance
from critical_phase.analysis.jumps.templates import Shapes, abrupt_shapes, smooth_shapes

Statistic = Callable[[Float[np.ndarray, "n step"]], Float[np.ndarray, " n"]]

FEWEST = 8
"""Checkpoints below which no change point is looked for."""

LEAST_SHARE = 0.25
"""Least share of the curve's range that an abrupt change must carry."""

MOST_SHARE = 1.2
"""Largest believable share: beyond it a steep line undoes what the shape overdoes."""

ABRUPT, SMOOTH = "abrupt", "smooth"
NO_FIT = "abrupt shape does not fit"
"""Not smooth, but the best abrupt shape is a failed fit: it would carry more than `MOST_SHARE`."""
SMALL_PART = "abrupt part is small"
"""Not smooth, but its abrupt part carries less than `LEAST_SHARE`."""

RETRY = 10
"""How many times more curves are simulated when almost none is as abrupt as the data."""


def word_of(p: float, share: float) -> str:
    """Name what a test says: abrupt, smooth, or not smooth and yet no abrupt change.

    Args:
        p: Its p-value, adjusted where it is one of many.
        share: Size of the best abrupt shape over the range of the curve.
    """
    if not p <= LEVEL:
        return SMOOTH
    if share > MOST_SHARE:
        return NO_FIT
    return ABRUPT if share >= LEAST_SHARE else SMALL_PART


@dataclass(frozen=True, slots=True)
class Abruptness:
    """Is there a change faster than smooth curves with the same noise show?"""

    p: float
    """Share of simulated smooth curves that look at least as abrupt."""
    statistic: float
    """n times log of (smooth residual / abrupt residual), whitened."""
    tau: float
    """Place of the best abrupt shape."""
    width: float
    """10-90 width of the best abrupt shape."""
    share: float
    """Size of the best abrupt shape over the range of the curve."""
    sign: float = 1.0
    """1 for a rise, -1 for a fall."""
    least: float = 0.0
    """Least p-value that the number of simulated curves allows."""

    @property
    def found(self) -> bool:
        """Say whether the change is unlikely to be smooth, large, and not a failed fit."""
        return self.p <= LEVEL and self.large

    @property
    def word(self) -> str:
        """Name what the test says: abrupt, smooth, or not smooth and yet no abrupt change."""
        return word_of(self.p, self.share)

    @property
    def large(self) -> bool:
        """Say whether the abrupt shape carries a believable and large share of the range."""
        return LEAST_SHARE <= self.share <= MOST_SHARE

    @property
    def at_limit(self) -> bool:
        """Say whether no simulated curve looked as abrupt, so that p may be smaller still."""
        return self.p <= self.least


@dataclass(frozen=True, slots=True)
class NullDraws:
    """Both statistics of one curve, and of curves simulated around its two smooth courses."""

    seen: tuple[float, float]
    """Gain over a line, gain over the best smooth fit."""
    over_line: Float[np.ndarray, " draw"]
    """The first statistic on curves around a line."""
    over_smooth: Float[np.ndarray, " draw"]
    """The second on curves around the best smooth fit."""


class AbruptTest:
    """Compares the best abrupt shape with the best smooth one, for many series of one axis."""

    def __init__(
        self, time: Float[np.ndarray, " step"], draws: int, rng: np.random.Generator
    ) -> None:
        """Make the shapes and the noise that all series of this axis share."""
        self.time = np.asarray(time, dtype=np.float64)
        self.abrupt: Shapes = abrupt_shapes(self.time)
        self.smooth = smooth_shapes(self.time)
        self.draws = draws
        noise = rng.standard_t(TAILS, (draws * RETRY, self.time.size))
        self.noise = _unit_variance(noise)
        self.entropy = int(rng.integers(2**62))

    def run(
        self,
        value: Float[np.ndarray, " step"],
        per_question: Float[np.ndarray, "step question"] | None = None,
        *,
        curves: int = 0,
    ) -> Abruptness:
        """Test one curve.

        Args:
            value: The curve.
            per_question: Its values per question, for the sampling covariance.
            curves: Most curves to simulate while almost none is as abrupt as the data; at
                least ten times the usual number.

        Returns:
            The larger of two p-values, and the abrupt shape: curves around a line may gain as
            much from the abrupt shape over a line, and curves around the best smooth fit as
            much over the smooth shapes.
        """
        span = float(np.ptp(value))
        if span <= 1e-12 * max(1.0, float(np.max(np.abs(value)))) or not len(self.abrupt.tau):
            return Abruptness(1.0, 0.0, float("nan"), float("nan"), 0.0)
        lower = cholesky(curve_covariance(value, self.time, per_question), lower=True)
        whitened = _Whitened(lower, self.time, self.smooth, self.abrupt.values)
        seen, fit, at, size = whitened.observe(value)
        p_line = self._p(whitened.over_line, np.zeros_like(fit), seen[0], curves)
        p_smooth = self._p(whitened.over_smooth, fit, seen[1], curves)
        return Abruptness(
            max(p_line, p_smooth),
            seen[1],
            float(self.abrupt.tau[at]),
            float(self.abrupt.width[at]),
            abs(size) / span,
            float(np.sign(size)),
            1 / (1 + max(curves, len(self.noise))),
        )

    def simulate(
        self,
        value: Float[np.ndarray, " step"],
        per_question: Float[np.ndarray, "step question"] | None,
        noise: Float[np.ndarray, "draw step"],
    ) -> NullDraws:
        """Compute both statistics with given noise, which other curves may share.

        Args:
            value: The curve; not constant.
            per_question: Its values per question, for the sampling covariance.
            noise: Deviations from a smooth course, in the unit of the curve.
        """
        lower = cholesky(curve_covariance(value, self.time, per_question), lower=True)
        whitened = _Whitened(lower, self.time, self.smooth, self.abrupt.values)
        seen, fit, _, _ = whitened.observe(value)
        white = solve_triangular(lower, noise.T, lower=True).T
        return NullDraws(seen, whitened.over_line(white), whitened.over_smooth(fit + white))

    def _p(
        self,
        statistic: Statistic,
        course: Float[np.ndarray, "1 step"],
        seen: float,
        curves: int,
    ) -> float:
        """Return the share of curves around a smooth course that look at least as abrupt."""
        above = count = 0
        for noise in self._noise(curves):
            above += int(np.sum(statistic(course + noise) >= seen))
            count += len(noise)
            if above > max(2, self.draws // 100):
                break
        return (1 + above) / (1 + count)

    def _noise(self, curves: int) -> Iterator[Float[np.ndarray, "_n step"]]:
        """Yield noise in growing batches, the same for every series."""
        yield self.noise[: self.draws]
        yield self.noise[self.draws :]
        size = len(self.noise)
        for start in range(size, curves, size):
            rng = np.random.default_rng([self.entropy, start])
            count = min(size, curves - start)
            yield _unit_variance(rng.standard_t(TAILS, (count, self.time.size)))


def _unit_variance(noise: Float[np.ndarray, "n step"]) -> Float[np.ndarray, "n step"]:
    """Scale heavy-tailed noise to variance one."""
    scaled: np.ndarray = (noise * np.sqrt((TAILS - 2) / TAILS)).astype(np.float32)
    return scaled


class _Whitened:
    """Shapes after dividing by the noise, with level and line taken out."""

    def __init__(
        self,
        lower: Float[np.ndarray, "step step"],
        time: Float[np.ndarray, " step"],
        smooth: Float[np.ndarray, "smooth step"],
        abrupt: Float[np.ndarray, "abrupt step"],
    ) -> None:
        unit = (time - time[0]) / (time[-1] - time[0])
        self.lower = lower
        ground = solve_triangular(lower, np.stack([np.ones_like(unit), unit], axis=1), lower=True)
        self.ground = np.linalg.qr(ground)[0]
        self.smooth, _ = self._shapes(smooth)
        self.abrupt, self.norm = self._shapes(abrupt)
        self.smooth32, self.abrupt32 = (
            self.smooth.T.astype(np.float32).copy(),
            self.abrupt.T.astype(np.float32).copy(),
        )

    def _shapes(
        self, shapes: Float[np.ndarray, "shape step"]
    ) -> tuple[Float[np.ndarray, "shape step"], Float[np.ndarray, " shape"]]:
        """Whiten, take out level and line, scale to length one."""
        left = self._residual(solve_triangular(self.lower, shapes.T, lower=True).T)
        norm = np.sqrt((left**2).sum(axis=1))
        return left / np.maximum(norm, 1e-6 * norm.max())[:, None], norm

    def _residual(self, curves: Float[np.ndarray, "n step"]) -> Float[np.ndarray, "n step"]:
        """Take out level and line."""
        left: np.ndarray = curves - (curves @ self.ground) @ self.ground.T
        return left

    def observe(
        self, value: Float[np.ndarray, " step"]
    ) -> tuple[tuple[float, float], Float[np.ndarray, "1 step"], int, float]:
        """Return both statistics, the whitened smooth fit, and the best abrupt shape and size."""
        white = solve_triangular(self.lower, value, lower=True)[None]
        left = self._residual(white)
        smooth, abrupt = (left @ self.smooth.T)[0], (left @ self.abrupt.T)[0]
        best, at = int(np.argmax(np.abs(smooth))), int(np.argmax(np.abs(abrupt)))
        fit = (white - left) + smooth[best] * self.smooth[best]
        seen = (float(self.over_line(white)[0]), float(self.over_smooth(white)[0]))
        return seen, fit.astype(np.float32), at, float(abrupt[at] / self.norm[at])

    def over_line(self, white: Float[np.ndarray, "n step"]) -> Float[np.ndarray, " n"]:
        """Return n log(residual of a line / abrupt residual) of whitened curves."""
        left = self._residual(white).astype(np.float32)
        total = (left**2).sum(axis=1)
        return self._gain(left, total, total)

    def over_smooth(self, white: Float[np.ndarray, "n step"]) -> Float[np.ndarray, " n"]:
        """Return n log(smooth residual / abrupt residual) of whitened curves."""
        left = self._residual(white).astype(np.float32)
        total = (left**2).sum(axis=1)
        return self._gain(left, total, total - np.max((left @ self.smooth32) ** 2, axis=1))

    def _gain(
        self,
        left: Float[np.ndarray, "n step"],
        total: Float[np.ndarray, " n"],
        rival: Float[np.ndarray, " n"],
    ) -> Float[np.ndarray, " n"]:
        """Return n log(rival residual / abrupt residual)."""
        abrupt = np.max((left @ self.abrupt32) ** 2, axis=1)
        floor = 1e-5 * total + 1e-20
        ratio = np.maximum(rival, floor) / np.maximum(total - abrupt, floor)
        gain: np.ndarray = left.shape[1] * np.log(ratio)
        return gain
