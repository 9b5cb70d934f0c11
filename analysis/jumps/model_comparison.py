"""Which kind of curve is it: constant, line, hinge, saturating, sigmoid or step?

Generalised least squares with the noise covariance, compared by BIC.
"""

import numpy as np
from jaxtyping import Float, Real
from scipy.linalg import cholesky, solve_triangular

from critical_phase.analysis.jumps.noise_model import curve_covariance
from critical_phase.analysis.jumps.templates import places, sigmoids

PARAMETERS = {"constant": 1, "line": 2, "saturating": 3, "hinge": 4, "step": 3, "sigmoid": 4}
"""Free numbers of each kind."""


def curve_shapes(time: Float[np.ndarray, " step"]) -> dict[str, Float[np.ndarray, "_shape step"]]:
    """Return the one-column shapes of each kind (hinge adds to a line)."""
    span = float(time[-1] - time[0])
    unit = (time - time[0]) / span
    taus = places(time)
    rates = np.geomspace(0.5 / (time.size - 1), 2.0, 20)[:, None]
    widths = np.geomspace(max(float(np.min(np.diff(time))), span / 100), 1.2 * span, 12)
    return {
        "line": unit[None],
        "saturating": 1 - np.exp(-unit[None] / rates),
        "hinge": np.maximum(0.0, (time[None] - taus[:, None]) / span),
        "step": sigmoids(time, taus, np.zeros(1)).values,
        "sigmoid": sigmoids(time, taus, widths).values,
    }


def compare_kinds(
    value: Float[np.ndarray, " step"],
    time: Real[np.ndarray, " step"],
    per_question: Float[np.ndarray, "step question"] | None = None,
) -> dict[str, float]:
    """Return the BIC of each kind of curve; the lowest is preferred."""
    axis = np.asarray(time, dtype=np.float64)
    count = value.size
    lower = cholesky(curve_covariance(value, axis, per_question), lower=True)

    def white(shapes: Float[np.ndarray, "shape step"]) -> Float[np.ndarray, "shape step"]:
        return np.asarray(solve_triangular(lower, shapes.T, lower=True).T)

    unit = (axis - axis[0]) / (axis[-1] - axis[0])
    level = white(np.ones((1, count)))
    lined = white(np.stack([np.ones(count), unit]))
    target = white(value[None])[0]
    residuals = {"constant": _residual(target, level, None)}
    for kind, shapes in curve_shapes(axis).items():
        ground = lined if kind == "hinge" else level
        residuals[kind] = _residual(target, ground, white(shapes))
    floor = 1e-12 * float(target @ target) + 1e-30
    return {
        kind: count * float(np.log(max(residuals[kind], floor) / count)) + k * float(np.log(count))
        for kind, k in PARAMETERS.items()
    }


def _residual(
    target: Float[np.ndarray, " step"],
    ground: Float[np.ndarray, "ground step"],
    shapes: Float[np.ndarray, "shape step"] | None,
) -> float:
    """Return the least residual sum of squares with one shape on top of the ground."""
    basis = np.linalg.qr(ground.T)[0]
    left = target - basis @ (basis.T @ target)
    total = float(left @ left)
    if shapes is None:
        return total
    free = shapes - (shapes @ basis) @ basis.T
    norm = (free**2).sum(axis=1)
    usable = norm > 1e-10 * max(float(norm.max()), 1e-300)
    gain = (free[usable] @ left) ** 2 / norm[usable]
    return total - float(gain.max(initial=0.0))
