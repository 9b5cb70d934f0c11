"""What is read of attention heads on right against wrong answers of the same question."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inference.bootstrap import interval
from critical_phase.analysis.inputs import Rows, question_count


@dataclass(frozen=True, slots=True)
class Gap:
    """How one attention head treats right answers otherwise than wrong ones."""

    head: str
    span: str
    """What is read: a kind of token that attention goes to, or a size."""
    layer: int
    attention_head: int
    first: float
    """Right minus wrong within question, at the first checkpoint."""
    change: float
    """Last minus first."""
    interval: tuple[float, float]
    """95 % question bootstrap of the change."""
    z: float
    """Change over its spread where the right answer is chosen at random."""
    p: float
    """Largest z of all heads, and of all that is read, under random right answers (max-T)."""


Ends = tuple[
    Float[np.ndarray, "layer attention_head row"], Float[np.ndarray, "layer attention_head row"]
]
"""What is read at the first checkpoint, and its change to the last."""


def ends_of(
    values: Float[np.ndarray, "step layer attention_head row"], order: Int[np.ndarray, " step"]
) -> Ends:
    """Return what the comparison needs of one thing that is read."""
    first = np.array(values[order[0]], dtype=np.float64)  # a copy: a view would keep all steps
    return first, np.asarray(values[order[-1]], dtype=np.float64) - first


def gaps_of(
    rows: Rows,
    head: str,
    ends: Mapping[str, Ends],
    weights: Float[np.ndarray, "draw question"],
    random: Float[np.ndarray, "naming row"],
) -> list[Gap]:
    """Compare right with wrong answers for all attention heads, strongest first.

    Args:
        rows: The rows.
        head: Adapter head.
        ends: What is read, by name.
        weights: Question resamples.
        random: Right answers named at random; see `random_labels`.
    """
    starts = np.searchsorted(rows.question, np.arange(question_count(rows)))
    found: list[tuple[str, int, int, np.ndarray]] = []
    for name, layer, at, first, moved in _columns(ends):
        change = random @ moved
        spread = float(change[1:].std())
        each = np.add.reduceat(random[0] * moved, starts) * starts.size
        low, high = interval(weights @ each)
        known = np.array([random[0] @ first, change[0], float(low), float(high)])
        z = change / spread if spread > 1e-12 else np.zeros(change.size)
        found.append((name, layer, at, np.concatenate((known, z))))
    most = np.max([np.abs(one[3][5:]) for one in found], axis=0)
    gaps = [
        Gap(
            head, name, layer, at, float(v[0]), float(v[1]), (float(v[2]), float(v[3])),
            float(v[4]), float((1 + (most >= abs(v[4]) - 1e-12).sum()) / (1 + most.size)),
        )
        for name, layer, at, v in found
    ]  # fmt: skip
    return sorted(gaps, key=lambda gap: -abs(gap.z))


def _columns(ends: Mapping[str, Ends]) -> Iterator[tuple[str, int, int, np.ndarray, np.ndarray]]:
    """Yield name, layer, attention head, the first value of every row, and its change."""
    for name, (first, moved) in ends.items():
        for layer in range(first.shape[0]):
            for at in range(first.shape[1]):
                yield name, layer, at, first[layer, at], moved[layer, at]
