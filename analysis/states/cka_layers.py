"""CKA of every two layers of one model, checkpoint by checkpoint.

A bright block is a run of layers that arrange the candidates alike. The map of a model that
does not change keeps its blocks, so the base (step 0) is what later steps are held against.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.charts import layer_label, numbers
from critical_phase.analysis.inputs import Rows, RunArrays, question_count
from critical_phase.analysis.probing.question_blocks import Group, contrasts, groups_of
from critical_phase.analysis.results import Map
from critical_phase.analysis.states.activations import sorted_steps, spread_steps, state_at
from critical_phase.analysis.states.cka import gram_apart
from critical_phase.analysis.states.cka_pairs import GramStack, block_cka_matrix
from critical_phase.analysis.states.row_subset import some_questions

MOST_ROWS = 2000
"""Rows that layers are compared on; whole questions, evenly spread, where a run has more."""

BUDGET = 2e11
"""Multiplications of Gram matrices, per head, up to which every checkpoint is taken."""

FEWEST = 9
"""Checkpoints that are taken in any case, where there are as many."""

CAPTION = (
    "How alike two layers of the model arrange the answers of a question at one step:"
    " 1 is the same arrangement, 0 nothing in common. Rows and columns are layers, so the"
    " diagonal is a layer against itself, 1 by definition. A bright block is a run of layers that"
    " agree, a dark line a layer that stands apart."
)


def layer_pairs(labels: Sequence[str]) -> list[str]:
    """Name every pair of layers, each once, a layer with itself included."""
    return [f"{one} and {two}" for i, one in enumerate(labels) for two in labels[: i + 1]]


def layers_map(arrays: RunArrays, head: str, seed: int) -> Map | None:
    """Compare all layers of a head with each other at its checkpoints.

    Args:
        arrays: The run, with hidden states.
        head: Trained head.
        seed: Start of the control, in which the questions of one layer are dealt anew.

    Returns:
        One row per pair of layers, or None for fewer than two layers or no checkpoint.
    """
    every, layers = sorted_steps(arrays, head)[1], arrays.layers
    if len(layers) < 2 or not every.size:
        return None
    rows, kept = some_questions(arrays.rows, MOST_ROWS)
    steps = spread_steps(every, _most(arrays, head, rows, int(every[0])))
    place = np.tril_indices(len(layers))
    found = np.stack([_matrix(arrays, head, rows, kept, int(step))[place] for step in steps])
    low, high = _dealt_anew(arrays, head, rows, kept, int(steps[-1]), seed)
    labels = [layer_label(layer) for layer in layers]
    return Map(
        f"cka_layers.{head}",
        f"CKA between layers, {head} head",
        "CKA",
        head,
        "pair",
        layer_pairs(labels),
        [int(step) for step in steps],
        [numbers(values) for values in found.T],
        False,
        [float(min(0.0, np.nanmin(found))) if np.isfinite(found).any() else 0.0, 1.0],
        f"With the questions of one of the two layers dealt anew, all pairs of layers lie from"
        f" {low:.2g} to {high:.2g} at the last step ({head} head). The base is step 0: what was"
        " alike there did not come from training.",
        CAPTION + _left_out(steps, every, rows, arrays.rows),
        question_count(rows),
    )


def _most(arrays: RunArrays, head: str, rows: Rows, step: int) -> int:
    """Return how many checkpoints the budget allows."""
    width = state_at(arrays, head, arrays.layers[0], step).shape[1]
    lines = sum(one.inner.size for one in groups_of(rows))
    return max(FEWEST, int(BUDGET / (len(arrays.layers) * lines**2 * width)))


def _matrix(
    arrays: RunArrays, head: str, rows: Rows, kept: Int[np.ndarray, " kept"], step: int
) -> Float[np.ndarray, "layer layer"]:
    """Return CKA within questions of every two layers at one step."""
    tables = (state_at(arrays, head, layer, step)[kept] for layer in arrays.layers)
    return block_cka_matrix(rows, tables, len(arrays.layers))


def _dealt_anew(
    arrays: RunArrays,
    head: str,
    rows: Rows,
    kept: Int[np.ndarray, " kept"],
    step: int,
    seed: int,
) -> tuple[float, float]:
    """Return the least and greatest CKA where one layer's questions are permuted."""
    groups = groups_of(rows)
    order = _dealt(groups, np.random.default_rng([seed, 34]))
    stacks = [GramStack(len(arrays.layers), order.size) for _ in range(2)]
    own = []
    for at, layer in enumerate(arrays.layers):
        inner = contrasts(groups, state_at(arrays, head, layer, step)[kept])
        gram = gram_apart(inner, groups)
        stacks[0].put(at, gram)
        stacks[1].put(at, gram[np.ix_(order, order)])
        own.append(float(np.vdot(gram, gram)))
    size = np.sqrt(np.where(np.array(own) > 0, own, np.nan))
    found = stacks[0].products(stacks[1]) / np.outer(size, size)
    return (float(np.nanmin(found)), float(np.nanmax(found))) if np.isfinite(found).any() else (
        float("nan"), float("nan"),
    )  # fmt: skip


def _dealt(groups: Sequence[Group], rng: np.random.Generator) -> Int[np.ndarray, " contrast"]:
    """Give every question the contrasts of another one with as many candidates."""
    order = np.arange(sum(one.inner.size for one in groups))
    for one in groups:
        order[one.inner] = one.inner[rng.permutation(len(one.inner))]
    return order


def _left_out(
    steps: Int[np.ndarray, " chosen"], every: Int[np.ndarray, " step"], rows: Rows, whole: Rows
) -> str:
    """Say which checkpoints and questions were not taken."""

    def said() -> Iterator[str]:
        if steps.size < every.size:
            yield f"{steps.size} of {every.size} checkpoints, evenly spread: the nearest is shown"
        if question_count(rows) < question_count(whole):
            yield f"{question_count(rows)} of {question_count(whole)} questions"

    found = "; ".join(said())
    return f" Taken: {found}." if found else ""
