"""Where a change sits and how long it takes, on many curves at once.

Width is 10-90 and tau the middle of the change, both in the unit of time.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import solve_triangular

from critical_phase.analysis.jumps.templates import (
    ABRUPT_SHARE,
    SMOOTH_SHARE,
    Shapes,
    places,
    sigmoids,
)


@dataclass(frozen=True, slots=True)
class Location:
    """One change fitted to each of many curves."""

    tau: Float[np.ndarray, " draw"]
    """Middle of the change."""
    width: Float[np.ndarray, " draw"]
    """10-90 width; 0 is a step between two checkpoints."""
    before: Float[np.ndarray, " draw"]
    """Fitted level before the change."""
    after: Float[np.ndarray, " draw"]
    """Fitted level after the change."""
    size: Float[np.ndarray, " draw"]
    """Height of the fitted sigmoid, without the ground's own change."""


class Places:
    """A grid of sigmoids to locate changes by least squares."""

    def __init__(
        self,
        time: Float[np.ndarray, " step"],
        shapes: Shapes,
        *,
        degree: int,
        lower: Float[np.ndarray, "step step"] | None = None,
    ) -> None:
        """Prepare the grid.

        Args:
            time: Checkpoints.
            shapes: Sigmoids to try, sorted by place, then width.
            degree: 0 for a level below the change, 1 for a line below it.
            lower: Cholesky factor of the noise covariance; ordinary least squares without.
        """
        self.shapes, self.time, self.lower = shapes, time, lower
        unit = (time - time[0]) / (time[-1] - time[0])
        powers = self._white(np.stack([unit**i for i in range(degree + 1)]))
        self.powers, self.solve = powers.T, np.linalg.pinv(powers.T)
        self.white = self._white(shapes.values)
        values = self._left(self.white)
        self.norm = np.sqrt((values**2).sum(axis=1))
        self.unit = values / np.maximum(self.norm, 1e-9 * self.norm.max())[:, None]
        self.unit32 = self.unit.T.astype(np.float32).copy()
        self.neighbours = _neighbours(shapes)

    def _white(self, curves: Float[np.ndarray, "n step"]) -> Float[np.ndarray, "n step"]:
        """Divide by the noise."""
        if self.lower is None:
            return curves
        return np.asarray(solve_triangular(self.lower, curves.T, lower=True).T)

    def _left(self, white: Float[np.ndarray, "n step"]) -> Float[np.ndarray, "n step"]:
        """Take out the ground."""
        left: np.ndarray = white - (white @ self.solve.T) @ self.powers.T
        return left

    def residual(self, curve: Float[np.ndarray, " step"]) -> float:
        """Return the smallest sum of squares that the grid leaves of one curve."""
        left = self._left(self._white(curve[None]))[0]
        return float(left @ left - np.max((self.unit @ left) ** 2))

    def locate(self, curves: Float[np.ndarray, "draw step"]) -> Location:
        """Fit ground + size * sigmoid to each curve."""
        white = self._white(curves)
        left = self._left(white)
        inner = np.abs(left.astype(np.float32) @ self.unit32)
        best = np.argmax(inner, axis=1)
        size = (left * self.unit[best]).sum(axis=1) / self.norm[best]
        coefficients = (white - size[:, None] * self.white[best]) @ self.solve.T
        tau, width = self._refine(inner, best), self.shapes.width[best]
        first, last = self.time[0], self.time[-1]
        if self.powers.shape[1] == 1:
            start = coefficients[:, 0] + size * self.shapes.values[best, 0]
            stop = coefficients[:, 0] + size * self.shapes.values[best, -1]
        else:
            slope = coefficients[:, 1] / (last - first)
            start = coefficients[:, 0] + slope * (np.maximum(tau - width / 2, first) - first)
            stop = start + size + slope * width
        return Location(tau, width, start, stop, size)

    def _refine(
        self, inner: Float[np.ndarray, "draw shape"], best: Int[np.ndarray, " draw"]
    ) -> Float[np.ndarray, " draw"]:
        """Move each place to the top of the parabola through its neighbours of equal width."""
        draw = np.arange(best.size)
        before, after = self.neighbours[0][best], self.neighbours[1][best]
        left, here, right = inner[draw, before], inner[draw, best], inner[draw, after]
        curvature = left - 2 * here + right
        smooth = (before != best) & (after != best) & (curvature < 0)
        smooth &= self.shapes.width[best] > 0
        shift = np.where(smooth, 0.5 * (left - right) / np.where(smooth, curvature, 1.0), 0.0)
        tau = self.shapes.tau
        gap = np.where(shift > 0, tau[after] - tau[best], tau[best] - tau[before])
        refined: np.ndarray = tau[best] + np.clip(shift, -0.5, 0.5) * gap
        return refined


def _neighbours(shapes: Shapes) -> tuple[Int[np.ndarray, " shape"], Int[np.ndarray, " shape"]]:
    """Return, per shape, the shapes of equal width just before and after it."""
    before = np.arange(shapes.tau.size)
    after = before.copy()
    for width in np.unique(shapes.width):
        same = np.flatnonzero(shapes.width == width)
        same = same[np.argsort(shapes.tau[same], kind="stable")]
        before[same[1:]], after[same[:-1]] = same[:-1], same[1:]
    return before, after


def wide_places(time: Float[np.ndarray, " step"]) -> Places:
    """Return sigmoids of every width on a level ground."""
    span, finest = float(time[-1] - time[0]), float(np.min(np.diff(time)))
    widths = np.concatenate(([0.0], np.geomspace(min(finest, span / 8), 1.2 * span, 12)))
    return Places(time, sigmoids(time, places(time), widths), degree=0)


def near_shapes(
    time: Float[np.ndarray, " step"], tau: float, width: float
) -> tuple[Shapes, tuple[float, float]]:
    """Return sigmoids around a tested change, and the window that they lie in.

    Args:
        time: Checkpoints.
        tau: Place of the tested shape.
        width: Its 10-90 width.

    Returns:
        Shapes at most one tested width or three checkpoint spacings away, as wide as a smooth
        change at most: a width between abrupt and smooth is then seen and not cut off.
    """
    span, finest = float(time[-1] - time[0]), float(np.min(np.diff(time)))
    at = int(np.clip(np.searchsorted(time, tau), 2, time.size - 2))
    spacing = float(np.max(np.diff(time[max(0, at - 3) : at + 3])))
    reach = max(width, 3 * spacing)
    low, high = tau - reach, tau + reach
    every = places(time)
    near = every[(every >= low - 1e-9) & (every <= high + 1e-9)]
    widest = SMOOTH_SHARE * span
    widths = np.concatenate(([0.0], np.geomspace(min(finest, widest / 8), widest, 10)))
    shapes = sigmoids(time, near, widths)
    return shapes, (float(near[0]), float(near[-1]))


def locate(time: Float[np.ndarray, " step"], curves: Float[np.ndarray, "draw step"]) -> Location:
    """Fit place, width and levels of one change to every curve."""
    return wide_places(np.asarray(time, dtype=np.float64)).locate(np.atleast_2d(curves))


def change_kind(width: float, time: Float[np.ndarray, " step"]) -> str:
    """Call a change a step when it takes at most a tenth of the series or two intervals."""
    span = float(time[-1] - time[0])
    intervals = min(2 * float(np.median(np.diff(time))), ABRUPT_SHARE * span)
    return "step" if width <= max(0.1 * span, intervals) else "ramp"
