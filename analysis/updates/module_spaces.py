"""What the updates of one module span, over steps and between heads, without keeping the spaces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.updates.lora_geometry import Factors
from critical_phase.analysis.updates.update_spaces import (
    Update,
    chance_overlap,
    overlap,
    principal_angles,
    spectral_entropy,
    update_svd,
)


@dataclass(frozen=True, slots=True)
class Side:
    """The last shared updates of two heads, in what they write to or read from."""

    side: str
    """`writes to` or `reads from`."""
    overlap: float
    chance: float
    """Mean overlap of random spaces."""
    angle: float
    """Smallest principal angle, degrees."""
    shape: tuple[int, int, int]
    """Dimensions, larger and smaller rank."""


@dataclass(frozen=True, slots=True)
class ModuleSpaces:
    """One module of all heads."""

    name: str
    to_last: Mapping[str, Float[np.ndarray, " step"]]
    """Overlap of what is written to with that of the last step, by head."""
    last_chance: Mapping[str, float]
    """Mean overlap of random spaces of the last step's shape, by head."""
    spread: Mapping[str, Float[np.ndarray, " step"]]
    """Exponential of the spectral entropy, a number of directions, by head."""
    rank: int
    """Largest rank of any update."""
    between: Float[np.ndarray, " shared"]
    """Overlap of what two heads write to, at shared steps; empty without a second head."""
    sides: tuple[Side, ...]
    """The two heads at their last shared step."""


def module_spaces(
    name: str,
    paths: Mapping[str, Sequence[Mapping[str, Factors]]],
    shared: Sequence[tuple[int, int]],
) -> ModuleSpaces:
    """Decompose one module at every step and compare its spaces.

    Args:
        name: The module.
        paths: By head, the adapters at every step.
        shared: Places of the steps that two heads share; empty without a second head.
    """
    found = {head: [update_svd(step[name]) for step in path] for head, path in paths.items()}
    pairs: list[tuple[Update, Update]] = []
    if shared:
        one, two = found.values()
        pairs = [(one[i], two[j]) for i, j in shared]
    return ModuleSpaces(
        name,
        {h: np.array([overlap(u.left, us[-1].left) for u in us]) for h, us in found.items()},
        {h: chance_overlap(us[-1].left, us[-1].left) for h, us in found.items()},
        {h: np.exp([spectral_entropy(u.values) for u in us]) for h, us in found.items()},
        max(u.rank for us in found.values() for u in us),
        np.array([overlap(a.left, b.left) for a, b in pairs]),
        _sides(*pairs[-1]) if pairs else (),
    )


def _sides(one: Update, two: Update) -> tuple[Side, ...]:
    """Compare two updates in what they write to and what they read from."""
    low, high = sorted((one.rank, two.rank))
    if not low:
        return ()
    return tuple(
        Side(
            side,
            overlap(u1, u2),
            chance_overlap(u1, u2),
            float(principal_angles(u1, u2)[0]),
            (u1.shape[0], high, low),
        )
        for side, u1, u2 in (
            ("writes to", one.left, two.left),
            ("reads from", one.right, two.right),
        )
    )


def mean_over_modules(
    rows: Sequence[Float[np.ndarray, " step"]],
) -> Float[np.ndarray, " step"]:
    """Average over modules; those whose update is zero do not count, NaN where all are."""
    table = np.stack(rows)
    known = np.isfinite(table)
    total = np.where(known, table, 0.0).sum(axis=0)
    count = known.sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(table.shape[1], np.nan), where=count > 0))
