"""Shapes that a curve over training can have: smooth ones and abrupt ones.

A template is one column of values over the checkpoints, to be scaled and shifted
by least squares. Smooth means slow on the axis of steps or on the axis of
checkpoints, whichever is kinder to the curve: log-spaced schedules stretch the one
and crowd the other.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

TEN_TO_NINETY = 2 * np.log(9.0)
"""10-90 width of a logistic in units of its scale (4.394)."""

ABRUPT_SHARE = 0.25
"""A change is abrupt when its 10-90 width is at most this share of the series."""

SMOOTH_SHARE = 0.4
"""A change is smooth when its 10-90 width is at least this share of the series.

Between the two lies a zone of indifference: a curve there may be called either, and its
width is reported. Without it no test could tell a width of .24 from one of .26.
"""


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
    """Return lines, saturating curves and slow ramps on the axes of steps and checkpoints."""
    index = np.arange(time.size, dtype=np.float64)
    axes = [time] if np.allclose(np.diff(time), np.diff(time)[0]) else [time, index]
    return np.concatenate([_smooth_on(axis) for axis in axes])


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
    return np.concatenate([saturating, onset, powers, hyperbolic, slow, ramps])


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
