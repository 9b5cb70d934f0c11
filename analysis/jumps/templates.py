"""Shapes that a curve over training can have: smooth ones and abrupt ones.

A template is one column of values over the checkpoints, to be scaled and shifted
by least squares. Smooth means slow on the axis of steps or on the axis of
checkpoints, whichever is kinder to the curve: log-spaced schedules stretch the one
and crowd the other.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

TEN_TO_NINETY = 2 * np.log(9.0)
"""10-90 width of a logistic in units of its scale (4.394)."""

ABRUPT_SHARE = 0.25
"""A change is abrupt when its 10-90 width is at most this share of the series."""

SMOOTH_SHARE = 0.4
"""A change is smooth when its 10-90 width is at least this share of the series.

Between the two lies a zone of indifference: a curve there may be called either, and its
width is reported. Without it no test could tell a width of .24 from one of .26.
"""

BUMPS = (0.17, 0.22, 0.3, 0.45)
"""Standard deviations of each side of a smooth bump, as shares of the series.

The 10-90 flank takes 1.69 of them, so the fastest is .29 of the series.
"""

COUNTED = ((-0.8, 1.2, 0.88), (-1.2, 0.8, 0.88), (-1.5, 1.5, 0.75))
"""First and last mean over the spread, and how much narrower counting makes the 10-90 width."""

SAME = 0.999
"""Correlation, with level and line taken out, from which two smooth shapes count as one."""


@dataclass(frozen=True, slots=True)
class Shapes:
    """Templates with the place and width of each."""

    values: Float[np.ndarray, "shape step"]
    tau: Float[np.ndarray, " shape"]
    width: Float[np.ndarray, " shape"]


def sigmoids(
    time: Float[np.ndarray, " step"],
    taus: Float[np.ndarray, " tau"],
    widths: Float[np.ndarray, " width"],
) -> Shapes:
    """Return logistic curves for every place and 10-90 width; width 0 is a step."""
    tau, width = (a.ravel() for a in np.meshgrid(taus, widths, indexing="ij"))
    away = time[None, :] - tau[:, None]
    scale = np.maximum(width, 1e-9)[:, None] / TEN_TO_NINETY
    values = 0.5 * (1 + np.tanh(np.clip(away / (2 * scale), -30, 30)))
    return Shapes(values, tau, width)


def places(time: Float[np.ndarray, " step"]) -> Float[np.ndarray, " tau"]:
    """Return candidate places: halfway between checkpoints and at inner checkpoints."""
    middles = (time[1:] + time[:-1]) / 2
    found: np.ndarray = np.sort(np.concatenate((middles[1:-1], time[2:-2])))
    return found


def abrupt_shapes(time: Float[np.ndarray, " step"]) -> Shapes:
    """Return steps and narrow sigmoids that begin inside the series."""
    span = float(time[-1] - time[0])
    finest = float(np.min(np.diff(time)))
    widths = np.unique(np.minimum([0.0, 0.04, 0.08, 0.14, 0.2, 1.0], ABRUPT_SHARE) * span)
    widths = widths[(widths == 0) | (widths >= finest)]
    shapes = sigmoids(time, places(time), widths)
    inside = shapes.tau - shapes.width / 2 > time[0]
    index_width = _checkpoints_inside(time, shapes)
    narrow = index_width <= max(ABRUPT_SHARE * (time.size - 1), 2.0)
    keep = inside & narrow
    return Shapes(shapes.values[keep], shapes.tau[keep], shapes.width[keep])


def smooth_shapes(time: Float[np.ndarray, " step"]) -> Float[np.ndarray, "shape step"]:
    """Return slow curves, rising or rising and falling, on the axes of steps and checkpoints."""
    index = np.arange(time.size, dtype=np.float64)
    axes = [time] if np.allclose(np.diff(time), np.diff(time)[0]) else [time, index]
    return _distinct(np.concatenate([_smooth_on(axis) for axis in axes]), time)


def _smooth_on(axis: Float[np.ndarray, " step"]) -> Float[np.ndarray, "shape step"]:
    """Return smooth templates on one axis, scaled to 0..1."""
    unit = (axis - axis[0]) / (axis[-1] - axis[0])
    first = 0.5 / (axis.size - 1)
    rates = np.geomspace(first, 2.0, 28)[:, None]
    saturating = 1 - np.exp(-unit / rates)
    onset = 1 - (1 + unit / rates) * np.exp(-unit / rates)
    powers = unit[None, :] ** np.array([0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0])[:, None]
    hyperbolic = unit / (unit + rates)
    slow = sigmoids(unit, np.linspace(0, 1, 29), np.geomspace(SMOOTH_SHARE, 1.0, 6)).values
    ramps = _ramps(unit)
    counted = [_counted(unit, *ends) for ends in COUNTED]
    return np.concatenate(
        [saturating, onset, powers, hyperbolic, slow, *counted, ramps, _two_sided(unit)]
    )


def _counted(
    unit: Float[np.ndarray, " step"], low: float, high: float, ratio: float
) -> Float[np.ndarray, "shape step"]:
    """Return the share above zero of a normal spread whose mean follows a slow sigmoid."""
    widths = SMOOTH_SHARE / ratio * np.array([1.0, 1.2, 1.6])
    mean = sigmoids(unit, np.linspace(0, 1, 29), widths).values
    share: np.ndarray = ndtr(low + (high - low) * mean)
    return share


def _two_sided(unit: Float[np.ndarray, " step"]) -> Float[np.ndarray, "shape step"]:
    """Return hinges and curves that rise and fall, each flank slow or begun at step 0."""
    hinges = np.maximum(0.0, unit - np.linspace(0, 1, 26)[1:-1, None])
    rates = np.geomspace(0.05, 1.0, 16)[:, None]
    pulses = unit / rates * np.exp(-unit / rates)
    decaying = np.exp(-unit / np.geomspace(0.15, 0.6, 4)[:, None])
    peaks = ((1 - decaying[:, None]) * decaying[None]).reshape(-1, unit.size)
    onsets = np.linspace(0, 0.9, 19)[1:, None, None]
    late = np.maximum(0.0, unit - onsets) / (SMOOTH_SHARE / 2.2 * np.array([1, 2, 4]))[:, None]
    late = (1 - np.exp(-late)).reshape(-1, unit.size)
    ramps = np.maximum(0.0, unit - onsets) / (1 - onsets)
    counted = [ndtr(a + (b - a) * ramps).reshape(-1, unit.size) for a, b, _ in COUNTED]
    rounded = _rounded_hinges(unit)
    middles = np.linspace(-0.2, 1.2, 36)[:, None, None]
    sides = np.array([(a, b) for a in BUMPS for b in BUMPS])
    away = unit - middles
    spread = np.where(away < 0, sides[:, :1], sides[:, 1:])
    bumps = np.exp(-0.5 * (away / spread) ** 2).reshape(-1, unit.size)
    return np.concatenate([hinges, *counted, rounded, late, pulses, peaks, bumps])


def _rounded_hinges(unit: Float[np.ndarray, " step"]) -> Float[np.ndarray, "shape step"]:
    """Return hinges whose corner is rounded: a change of slope that takes its time."""
    corners, rounds = np.linspace(0, 1, 26)[1:-1, None, None], np.array([0.03, 0.08])[:, None]
    soft: np.ndarray = rounds * np.logaddexp(0, (unit - corners) / rounds)
    return soft.reshape(-1, unit.size)


def _distinct(
    shapes: Float[np.ndarray, "shape step"], time: Float[np.ndarray, " step"]
) -> Float[np.ndarray, "kept step"]:
    """Leave out shapes that are another one plus a line: simulation pays for each."""
    ground = np.linalg.qr(np.stack([np.ones_like(time), time - time.mean()], axis=1))[0]
    left = shapes - (shapes @ ground) @ ground.T
    norm = np.sqrt((left**2).sum(axis=1))
    scale = np.sqrt(((shapes - shapes.mean(axis=1, keepdims=True)) ** 2).sum(axis=1))
    bent = norm > 1e-6 * np.maximum(scale, 1e-12)
    unit = left / np.maximum(norm, 1e-300)[:, None]
    free, kept = bent.copy(), []
    for at in range(len(shapes)):
        if free[at]:
            kept.append(at)
            free &= np.abs(unit @ unit[at]) < SAME
    return shapes[kept]


def _ramps(unit: Float[np.ndarray, " step"]) -> Float[np.ndarray, "shape step"]:
    """Return flat-line-flat curves whose line is as long as a smooth change."""
    knots = np.linspace(0, 1, 13)
    pairs = [(a, b) for a in knots for b in knots if b - a > SMOOTH_SHARE / 0.8 - 1e-9]
    return np.array([np.clip((unit - a) / (b - a), 0, 1) for a, b in pairs])


def _checkpoints_inside(
    time: Float[np.ndarray, " step"], shapes: Shapes
) -> Float[np.ndarray, " shape"]:
    """Count the checkpoint intervals that the 10-90 part of each shape spans."""
    index = np.arange(time.size, dtype=np.float64)
    low = np.interp(shapes.tau - shapes.width / 2, time, index)
    high = np.interp(shapes.tau + shapes.width / 2, time, index)
    spans: np.ndarray = high - low
    return spans
