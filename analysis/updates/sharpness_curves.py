"""Curves of sharpness, plain and under Adam's scaling, with what each may be held against."""

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.charts import numbers
from critical_phase.analysis.inputs import RunArrays
from critical_phase.analysis.results import Curve
from critical_phase.analysis.updates.curvature_series import CurvatureSeries
from critical_phase.analysis.updates.llc_series import point_of

ADAM_LIMIT = 38.0
"""(2 + 2 beta1) / (1 - beta1) at beta1 = .9: over lr, where Adam with fixed P is unstable."""

OVER_SAMPLES = "95 % t interval over disjoint samples of training examples; one training run"

PLAIN = (
    "Largest eigenvalue of the Hessian of the mean loss per answer token, in the factors B and A;"
    " mean over samples of the head's training examples. Over few examples the largest eigenvalue"
    " is too large on average. No line at 2/lr: that is the limit of plain gradient descent, and no"
    " threshold for Adam, with which probe train trains."
)

SCALED = (
    "Largest eigenvalue of P^-1 H, with P what Adam divides by, from the optimizer states that the"
    " training kept (steps that are powers of two). With P fixed and whole batches Adam is unstable"
    " above 38/lr (beta1 = .9); with small batches training tends to stay below. Beyond the line is"
    " no proof of an instability: P moves on with every step."
)


def sharpness_curves(head: str, one: CurvatureSeries, arrays: RunArrays) -> list[Curve]:
    """Return what was measured: plain sharpness, and under Adam's scaling at steps with a state."""
    curves = []
    if np.isfinite(one.sharpness).any():
        title = f"Sharpness, {head} head"
        curves.append(_curve("sharpness", title, PLAIN, head, one, one.sharpness, arrays))
    if np.isfinite(one.preconditioned).any():
        title = f"Sharpness under Adam's scaling, {head} head"
        name, table = "preconditioned_sharpness", one.preconditioned
        curves.append(_curve(name, title, SCALED, head, one, table, arrays))
    return curves


def constant_rate(arrays: RunArrays, head: str) -> float | None:
    """Return the learning rate of a head where the log has one for all steps."""
    rates = np.unique(np.asarray(arrays.training_log(head).get("lr", ()), dtype=np.float64))
    return float(rates[0]) if rates.size == 1 and rates[0] > 0 else None


def unconverged(head: str, one: CurvatureSeries, arrays: RunArrays) -> list[str]:
    """Say what of sharpness is missing or not to be trusted."""
    if not np.isfinite(one.sharpness).any():
        return [f"{head}: sharpness was left out; probe curvature RUN --samples 4 measures it"]
    notes = []
    wanted = float(one.settings["tolerance"])
    tables = (
        ("sharpness", one.sharpness, one.residual),
        ("sharpness under Adam's scaling", one.preconditioned, one.preconditioned_residual),
    )
    for name, values, residuals in tables:
        loose = np.isfinite(values) & ~(residuals <= wanted)
        if loose.any():
            worst = float(np.nanmax(residuals[loose])) if np.isfinite(residuals[loose]).any() else 0
            notes.append(
                f"{head}: {int(loose.sum())} of {int(np.isfinite(values).sum())} searches of {name}"
                f" ended above the relative residual {wanted:g} (worst {worst:.2g}): --products"
            )
    states = np.isfinite(one.preconditioned).any(axis=1)
    if not states.any():
        notes.append(f"{head}: no optimizer state at these steps, so no sharpness under Adam's")
    elif constant_rate(arrays, head) is None:
        notes.append(f"{head}: the learning rate is not constant, so 38/lr is not drawn")
    return notes


def _curve(
    name: str,
    title: str,
    caption: str,
    head: str,
    one: CurvatureSeries,
    table: Float[np.ndarray, "step sample"],
    arrays: RunArrays,
) -> Curve:
    kept = np.isfinite(table).any(axis=1)
    points = [point_of(row) for row in table[kept]]
    steps, rate = one.steps[kept], constant_rate(arrays, head)
    scaled = name != "sharpness" and rate is not None
    return Curve(
        f"{name}.{head}",
        title,
        "eigenvalue",
        name,
        head,
        [int(s) for s in steps],
        [int(s) * arrays.batch_size for s in steps],
        numbers(np.array([p.value for p in points])),
        caption,
        0,
        head,
        low=numbers(np.array([p.low for p in points])),
        high=numbers(np.array([p.high for p in points])),
        interval=OVER_SAMPLES,
        references=[{"label": "38/lr", "value": ADAM_LIMIT / rate}] if scaled and rate else [],
    )
