"""Other clocks than steps: the path that the weights have travelled."""

import numpy as np
from jaxtyping import Float, Int

from .curves import NEEDS
from .inputs import RunArrays
from .lora_geometry import step_lengths


def path_length(
    arrays: RunArrays, head: str
) -> tuple[Int[np.ndarray, " step"], Float[np.ndarray, " step"]] | None:
    """Return steps and the summed length of weight updates up to each, None if not stored."""
    steps, adapters = np.asarray(arrays.steps(head)), arrays.adapters(head)
    if len(adapters) != steps.size or not adapters:
        return None
    order = np.argsort(steps, kind="stable")
    lengths = step_lengths([adapters[i] for i in order])
    return steps[order], np.concatenate(([0.0], np.cumsum(lengths)))


def path_clock(
    arrays: RunArrays, mode: str, steps: Int[np.ndarray, " step"]
) -> Float[np.ndarray, " step"] | None:
    """Return the path length of a mode's heads at the given steps, summed over heads."""
    total = np.zeros(steps.size)
    for head in NEEDS[mode]:
        path = path_length(arrays, head)
        if path is None or not np.isin(steps, path[0]).all():
            return None
        total += path[1][np.searchsorted(path[0], steps)]
    return total if np.all(np.diff(total) > 0) else None
