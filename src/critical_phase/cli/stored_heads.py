"""What was collected of attention heads, under the names that the analysis has for it."""

from collections.abc import Callable, Sequence

import numpy as np

from critical_phase.cli.on_demand import ReadOnDemand

_END = "answer_end"
_NORMS = {"output": "head_output_norm", "write": "head_write_norm"}
_IMPORTANCE = {"importance": "head_importance"}


def has_norms(datasets: Sequence[str]) -> bool:
    """Tell whether norms were collected, whose positions are then to be looked up."""
    return any(name in datasets for name in _NORMS.values())


def stored_heads(
    datasets: Sequence[str], positions: Sequence[str], stack: Callable[..., np.ndarray]
) -> ReadOnDemand:
    """Offer [step, block, attention head, row] by name: norms at the end of the answer alone.

    Args:
        datasets: Of an activations file.
        positions: That norms were read at.
        stack: Reads a dataset at all steps: name, layer, and what of it is kept.
    """
    offered = (_NORMS if _END in positions else {}) | _IMPORTANCE
    names = {name: dataset for name, dataset in offered.items() if dataset in datasets}

    def read(name: str) -> np.ndarray:
        if name in _IMPORTANCE:
            return stack(names[name], None).swapaxes(2, 3)
        at = positions.index(_END)
        return stack(names[name], None, lambda values: values[:, :, at]).swapaxes(2, 3)

    return ReadOnDemand(tuple(names), read)
