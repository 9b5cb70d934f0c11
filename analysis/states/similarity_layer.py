"""One layer of one head, walked once through its checkpoints.

Held at a time: the base, two checkpoints, and a Gram (or features) of up to 17 of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inputs import RunArrays, mean_by_question, question_count
from critical_phase.analysis.states.activations import (
    base_states,
    sorted_steps,
    spread_steps,
    state_at,
)
from critical_phase.analysis.states.cka import (
    BlockFeatures,
    block_cka,
    block_features,
    debiased_cka,
)
from critical_phase.analysis.states.cka_pairs import PairCollector
from critical_phase.analysis.states.displacement import constant_shift, relative_displacement
from critical_phase.analysis.states.path_share import (
    Half,
    distance,
    halves,
    path_shares,
    random_change,
)

MOST_STEPS = 17
"""Checkpoints of a step by step map."""


@dataclass(frozen=True, slots=True)
class LayerPath:
    """What happened to one layer, step by step."""

    head: str
    layer: int
    steps: Int[np.ndarray, " step"]
    found: dict[str, Float[np.ndarray, "step question"]]
    """Quantities with jackknife pseudo-values per question."""
    between: Float[np.ndarray, " step"]
    """CKA of question means to the base."""
    half_shares: Float[np.ndarray, "2 step"]
    """Shares of the path of two disjoint halves of the questions."""
    chosen: Int[np.ndarray, " chosen"]
    """Steps of the map."""
    matrix: Float[np.ndarray, "chosen chosen"]
    """CKA within questions between the chosen steps."""
    random_distance: float
    """Distance that a random change of the longest step's norm makes."""

    @property
    def longest(self) -> int | None:
        """Index of the checkpoint that ends the longest step, None where nothing moved."""
        share = self.found["step_share"].mean(axis=1)
        return None if np.isnan(share).all() else int(np.nanargmax(share))


class _Walk:
    """The checkpoints of one layer, one after another."""

    def __init__(self, arrays: RunArrays, layer: int) -> None:
        self._rows = arrays.rows
        self.base = base_states(arrays, layer)
        self.origin = block_features(arrays.rows, self.base)
        self._means = mean_by_question(arrays.rows, self.base.T).T

    def displaced(
        self, now: Float[np.ndarray, "row d"]
    ) -> tuple[Float[np.ndarray, " question"], Float[np.ndarray, " question"]]:
        """Return relative displacement and constant shift."""
        moved = relative_displacement(self._rows, self.base, now)
        return moved, constant_shift(self._rows, now - self.base)[1]

    def between(self, now: Float[np.ndarray, "row d"]) -> float:
        """Return debiased CKA of question means, NaN for fewer than 4 questions."""
        if self._means.shape[0] < 4:
            return float("nan")
        return debiased_cka(self._means, mean_by_question(self._rows, now.T).T)


def walk_layer(
    arrays: RunArrays, head: str, layer: int, seed: int, *, pairs_of_steps: bool = True
) -> LayerPath:
    """Measure every checkpoint of a layer against the base and the checkpoint before.

    Args:
        arrays: The run.
        head: Trained head.
        layer: Residual layer.
        seed: Start of the random split in halves and of the random change.
        pairs_of_steps: Whether checkpoints are also compared with each other.

    Returns:
        Values per step; NaN where a quantity is undefined.
    """
    _, steps = sorted_steps(arrays, head)
    count, walk = question_count(arrays.rows), _Walk(arrays, layer)
    names = ("displacement", "constant_shift", "cka_base", "cka_step")
    found = {name: np.full((steps.size, count), np.nan) for name in names}
    between, near = np.full(steps.size, np.nan), np.full(steps.size, np.nan)
    half_cka = np.full((2, steps.size), np.nan)
    parts = halves(arrays.rows.question, np.random.default_rng([seed, 30]))
    chosen = spread_steps(steps, MOST_STEPS if pairs_of_steps else 0)
    pairs = PairCollector(chosen.size)
    before: BlockFeatures | None = None
    own: list[float] = []
    for t, step in enumerate(steps):
        now = state_at(arrays, head, layer, int(step))
        here = block_features(arrays.rows, now)
        found["displacement"][t], shift = walk.displaced(now)
        if step > 0:
            found["constant_shift"][t] = shift
        found["cka_base"][t] = block_cka(walk.origin, here)[1]
        if before is not None:
            near[t], found["cka_step"][t] = block_cka(before, here)
            half_cka[:, t] = _half_cka(parts, before, here, own)
        between[t] = walk.between(now)
        if step in chosen:
            pairs.add(here)
        before, own = here, [half.product(here, here) for half in parts]
    found["step_share"] = path_shares(near, found["cka_step"])[1]
    lengths = distance(half_cka)
    whole = np.nansum(lengths, axis=1, keepdims=True)
    bare = LayerPath(
        head, layer, steps, found, between, lengths / np.where(whole > 0, whole, np.nan),
        chosen, pairs.matrix() if chosen.size else np.zeros((0, 0)), float("nan"),
    )  # fmt: skip
    return _with_random(arrays, bare, seed)


def _half_cka(
    parts: Sequence[Half], before: BlockFeatures, here: BlockFeatures, own: Sequence[float]
) -> list[float]:
    """Return block CKA over each half of the questions, given that of the one before."""
    found = []
    for half, first in zip(parts, own, strict=True):
        size = first * half.product(here, here)
        cross = half.product(before, here)
        found.append(cross / float(np.sqrt(size)) if size > 0 else float("nan"))
    return found


def _with_random(arrays: RunArrays, path: LayerPath, seed: int) -> LayerPath:
    """Add a random change of the longest step's norm to the checkpoint before it."""
    at = path.longest
    if at is None or at == 0:
        return path
    before, after = (
        state_at(arrays, path.head, path.layer, int(path.steps[t])) for t in (at - 1, at)
    )
    drawn = random_change(after - before, np.random.default_rng([seed, 31]))
    tables = [block_features(arrays.rows, one) for one in (before, before + drawn)]
    far = float(distance(block_cka(*tables)[0]))
    return replace(path, random_distance=far)
