"""What of a run's activations can be read, and in which order of steps."""

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inputs import Rows, RunArrays
from critical_phase.analysis.probing.linear_probe import within_centred
from critical_phase.errors import FitError

POSITION = "answer_end"
"""Where rows are read: the last token of the answer."""

SKIPPED = (
    "position question_end is the same for every candidate of a question, so nothing can be told"
    " apart there: left out"
)


def has_residuals(arrays: RunArrays) -> bool:
    """Say whether hidden states at the end of the answer were stored."""
    return bool(arrays.layers) and POSITION in arrays.positions


def sorted_steps(arrays: RunArrays, head: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the order that sorts the steps with activations, and the sorted steps."""
    steps = np.asarray(arrays.activation_steps(head))
    order = np.argsort(steps, kind="stable")
    return order, steps[order]


def state_at(arrays: RunArrays, head: str, layer: int, step: int) -> Float[np.ndarray, "row d"]:
    """Return hidden states of one layer at one step in float64; no other step is held."""
    found = arrays.residual_at(head, step, layer, POSITION)
    _check_numbers(found, head, layer, step)
    return np.asarray(found, dtype=np.float64)


def _check_numbers(values: Float[np.ndarray, "row d"], head: str, layer: int, step: int) -> None:
    """Refuse hidden states that are not finite, naming where they come from."""
    if not np.isfinite(values).all():
        raise FitError(
            f"hidden states of head {head}, layer {layer} at step {step} are not all numbers",
            where=f"activations/{head}",
            fix="collect this checkpoint again, in float32",
        )


def spread_steps(steps: Int[np.ndarray, " step"], most: int) -> Int[np.ndarray, " chosen"]:
    """Choose at most so many steps at even places of the series, the ends among them."""
    if not steps.size or not most:
        return steps[:0]
    at = np.unique(np.round(np.linspace(0, steps.size - 1, min(most, steps.size))).astype(int))
    chosen: np.ndarray = steps[at]
    return chosen


def base_states(arrays: RunArrays, layer: int) -> Float[np.ndarray, "row d"]:
    """Return hidden states of one layer without an adapter, in float64."""
    return np.asarray(arrays.base_residual(layer, POSITION), dtype=np.float64)


def base_scale(rows: Rows, base: Float[np.ndarray, "row d"]) -> Float[np.ndarray, " d"]:
    """Return the within-question spread of each dimension at the base, fixed over training."""
    spread = within_centred(rows, base).std(axis=0)
    typical = float(np.median(spread))
    return np.asarray(np.maximum(spread, max(1e-3 * typical, 1e-12)))
