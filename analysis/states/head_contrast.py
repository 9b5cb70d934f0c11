"""The movement of two heads at equal steps: do they go the same way?"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inputs import Rows, RunArrays, question_count
from critical_phase.analysis.probing.direction import mean_cosine
from critical_phase.analysis.states.activations import (
    base_states,
    sorted_steps,
    spread_steps,
    state_at,
)
from critical_phase.analysis.states.cka import block_cka, block_features
from critical_phase.analysis.states.displacement_parts import label_sums, question_sums

QUANTITIES = {
    "shift_cosine": "cosine of the mean displacements of both heads",
    "label_cosine": "cosine of the right-minus-wrong displacements of both heads",
    "change_cka": "CKA within questions between the changes of both heads",
}
"""What is compared, by name."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """Two heads at equal steps, one layer."""

    layer: int
    steps: Int[np.ndarray, " step"]
    found: dict[str, Float[np.ndarray, "step question"]]
    """Jackknife pseudo-values by name of `QUANTITIES`; NaN where a mean is not above noise."""


def contrast_heads(arrays: RunArrays, heads: tuple[str, str], layer: int, most: int) -> Contrast:
    """Compare the changes of two heads at one layer, at steps that both have.

    Args:
        arrays: The run.
        heads: The two heads.
        layer: Residual layer.
        most: Most steps to compare, evenly spread.
    """
    rows = arrays.rows
    common = np.intersect1d(sorted_steps(arrays, heads[0])[1], sorted_steps(arrays, heads[1])[1])
    steps = spread_steps(common[common > 0], most)
    found = {name: np.full((steps.size, question_count(rows)), np.nan) for name in QUANTITIES}
    base = base_states(arrays, layer)
    for at, step in enumerate(steps):
        one, two = (state_at(arrays, head, layer, int(step)) - base for head in heads)
        for name, value in _compare(rows, one, two).items():
            found[name][at] = value
    return Contrast(layer, steps, found)


def _compare(
    rows: Rows, one: Float[np.ndarray, "row d"], two: Float[np.ndarray, "row d"]
) -> dict[str, Float[np.ndarray, " question"]]:
    """Return the pseudo-values of every quantity for two tables of changes."""
    tables = block_features(rows, one), block_features(rows, two)
    return {
        "shift_cosine": mean_cosine(question_sums(rows, one), question_sums(rows, two))[1],
        "label_cosine": mean_cosine(label_sums(rows, one), label_sums(rows, two))[1],
        "change_cka": block_cka(*tables)[1],
    }
