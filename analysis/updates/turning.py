"""Where a weight path turns: the local cosine at several lags, and whether they agree.

c_t(k) = cos(v_{t-k} - v_t, v_{t+k} - v_t). A straight line has -1, a right turn 0 at the turn,
a random walk 0 at every t and k, jitter about a point +.5. A turn is therefore a rise that is
local in t and the same at every k, over the level of the path itself.

Reference: 2506.11613.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.updates.lora_geometry import local_cosine

LAGS = (1, 2, 4, 8)
"""Checkpoints looked back and ahead."""

HEIGHT = 0.2
"""Least rise of the cosine, at every lag, that is called a turn; fixed in advance."""

LEVEL = 0.05
"""Significance of a turn."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The sharpest turn of one path."""

    place: int
    """Checkpoint (its place, from 0) of the sharpest turn."""
    height: float
    """Least rise of the local cosine over its median, of all lags, at that place."""
    local: bool
    """Whether the rise is at most half as high further than the largest lag away."""
    p: float
    """Chance of such a rise where lags are shifted against each other in time."""
    lags: tuple[int, ...]
    """Lags that had to agree."""

    @property
    def found(self) -> bool:
        """Say whether the path turns: high enough, local, and the same at every lag."""
        return self.height >= HEIGHT and self.local and self.p <= LEVEL


def cosines(
    gram: Float[np.ndarray, "step step"], lags: Sequence[int] = LAGS
) -> dict[int, Float[np.ndarray, " step"]]:
    """Return the local cosine at every lag that leaves at least five inner checkpoints."""
    return {lag: local_cosine(gram, lag) for lag in lags if gram.shape[0] >= 2 * lag + 5}


def sharpest_turn(
    gram: Float[np.ndarray, "step step"],
    rng: np.random.Generator,
    *,
    lags: Sequence[int] = LAGS,
    shifts: int = 400,
) -> Turn | None:
    """Find the checkpoint at which every lag sees the path turn.

    The control shifts the curve of each lag in a circle by its own amount: each lag keeps its
    shape and only the agreement in time is lost.

    Args:
        gram: Inner products of the updates along the path.
        rng: Source of the shifts.
        lags: Lags that have to agree.
        shifts: Number of shifted copies.

    Returns:
        The sharpest turn, or None where fewer than two lags fit or the path does not move.
    """
    found = cosines(gram, lags)
    if len(found) < 2:
        return None
    table = np.stack(list(found.values()))
    inner = np.isfinite(table).all(axis=0)
    if inner.sum() < 5:
        return None
    first = int(np.flatnonzero(inner)[0])
    rise = table[:, inner] - np.median(table[:, inner], axis=1, keepdims=True)
    least = rise.min(axis=0)
    at = int(np.argmax(least))
    height = float(least[at])
    null = np.array([_shifted(rise, rng) for _ in range(shifts)])
    p = float((1 + (null >= height - 1e-12).sum()) / (1 + shifts))
    return Turn(first + at, height, _local(least, at, max(found)), p, tuple(found))


def _shifted(rise: Float[np.ndarray, "lag step"], rng: np.random.Generator) -> float:
    """Return the highest agreement after shifting every lag by its own amount."""
    moved = [np.roll(row, int(rng.integers(row.size))) for row in rise]
    return float(np.min(moved, axis=0).max())


def _local(least: Float[np.ndarray, " inner"], at: int, reach: int) -> bool:
    """Say whether the rise falls to half on both sides, and stays there further away."""
    half = least[at] / 2
    left, right = least[:at], least[at + 1 :]
    if not (left.size and right.size and left.min() <= half and right.min() <= half):
        return False
    far = np.abs(np.arange(least.size) - at) > reach
    return bool((least[far] <= half).all())
