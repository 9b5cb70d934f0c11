"""Hidden states, attention and adapters of planted worlds: what is planted is passed in."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inputs import Rows

Course = Float[np.ndarray, " step"]

DRIFT = 0.02
"""Increment of the random walk of every hidden dimension and attention logit."""

KEYS = 8
"""Keys of a planted attention row."""

Adapters = list[dict[str, tuple[np.ndarray, np.ndarray, float]]]


def states_of(
    rows: Rows,
    layers: tuple[int, ...],
    width: int,
    steps: int,
    rng: np.random.Generator,
    *,
    label: Mapping[int, Course],
    shift: Mapping[int, Course],
) -> dict[int, Float[np.ndarray, "step row d"]]:
    """Draw residual streams of one head.

    Args:
        rows: The candidates.
        layers: Layers to draw.
        width: Size of the stream.
        steps: Checkpoints.
        rng: Source of all randomness.
        label: Layer to the course of a direction that tells right from wrong, centred within
            questions, in units of the spread of one dimension.
        shift: Layer to the course of one vector common to all rows.

    Returns:
        Layer to states; what is not planted only wanders.
    """
    size, sizes = rows.question.size, np.bincount(rows.question)
    side = (rows.correct - 1.0 / sizes[rows.question])[None, :, None]
    found = {}
    for layer in layers:
        topic = rng.normal(size=(sizes.size, width))[rows.question]
        still = topic + rng.normal(size=(size, width))
        directions = rng.normal(size=(2, width))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        path = np.cumsum(rng.normal(0, DRIFT, (steps, size, width)), axis=0)
        path[0] = 0.0
        path += still
        if layer in label:
            path += label[layer][:, None, None] * side * directions[0]
        if layer in shift:
            path += shift[layer][:, None, None] * directions[1]
        found[layer] = path.astype(np.float32)
    return found


def attention_rows(
    rows: Rows,
    attention_heads: int,
    steps: int,
    rng: np.random.Generator,
    *,
    moved: Mapping[int, Course],
) -> Float[np.ndarray, "step row attention_head key"]:
    """Draw attention rows of one block; moved heads turn to the second key by their course."""
    still = rng.normal(size=(rows.question.size, attention_heads, KEYS))
    still[..., 0] += 2
    logits = np.cumsum(rng.normal(0, DRIFT, (steps, *still.shape)), axis=0)
    logits[0] = 0.0
    logits += still
    for head, course in moved.items():
        logits[:, :, head, 1] += course[:, None]
    weights = np.exp(logits)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), dtype=np.float32)


def walked_adapters(rates: Float[np.ndarray, " update"], rng: np.random.Generator) -> Adapters:
    """Draw LoRA factors whose every update is as long as its learning rate says.

    Args:
        rates: Learning rate of each update; their sum sets only the scale.
        rng: Source of all randomness.

    Returns:
        Factors of two modules at every checkpoint, zero at the first.
    """
    names = ("blocks.0.mlp.up_proj", "blocks.1.mlp.up_proj")
    moved = rates / rates.sum()
    path: Adapters = [{} for _ in range(moved.size + 1)]
    for name in names:
        start, aim = rng.normal(size=(2, 12)) / 3, rng.normal(size=(16, 2))
        turns = rng.normal(size=(moved.size, 16, 2))
        pushes = moved[:, None, None] * (aim + turns)
        factor = np.concatenate((np.zeros((1, 16, 2)), np.cumsum(pushes, axis=0)))
        for step, here in zip(path, factor, strict=True):
            step[name] = (start, here, 1.0)
    return path
