"""Which step of a path is long: distances between neighbouring checkpoints and their shares.

d = sqrt(2 - 2 CKA) is the distance of two unit vectors with that cosine. Its share of the
whole path is set against an even pace, both halves of the questions, and a random change of
the same norm. Never read a jump off a colour map.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from critical_phase.analysis.states.cka import BlockFeatures

ROUNDING = 1e-12
"""2 - 2 CKA below this is rounding: a layer that never moved has no path."""


def distance(cka: Float[np.ndarray, "*any"] | float) -> Float[np.ndarray, "*any"]:
    """Return sqrt(2 - 2 CKA), 0 for equal arrangements and 1.41 for unrelated ones."""
    gap = 2 - 2 * np.asarray(cka, dtype=np.float64)
    return np.asarray(np.sqrt(np.where(gap < ROUNDING, 0.0, gap)))


def path_shares(
    cka: Float[np.ndarray, " step"], pseudo: Float[np.ndarray, "step question"]
) -> tuple[Float[np.ndarray, " step"], Float[np.ndarray, "step question"]]:
    """Return each step's share of the path length.

    Args:
        cka: CKA to the checkpoint before; NaN at the first and where undefined.
        pseudo: Its jackknife pseudo-values.

    Returns:
        Shares, summing to 1, and their own exact jackknife pseudo-values.
    """
    count = pseudo.shape[1]
    without = (count * cka[:, None] - pseudo) / (count - 1)
    shares = _normalised(distance(np.concatenate([cka[:, None], without], axis=1)))
    return shares[:, 0], count * shares[:, :1] - (count - 1) * shares[:, 1:]


def _normalised(length: Float[np.ndarray, "step case"]) -> Float[np.ndarray, "step case"]:
    """Divide by the sum over steps, NaN where nothing moved."""
    whole = np.nansum(length, axis=0)
    return np.asarray(length / np.where(whole > 0, whole, np.nan))


@dataclass(frozen=True, slots=True)
class Half:
    """Some of the questions, to repeat a measurement on."""

    chosen: Bool[np.ndarray, " question"]

    def product(self, one: BlockFeatures, two: BlockFeatures) -> float:
        """Return the alignment of two tables over pairs of these questions."""
        mine = [self.chosen[group.question] for group in one.groups]
        kept = [group.inner[some].ravel() for group, some in zip(one.groups, mine, strict=True)]
        inner = np.concatenate(kept)
        if one.gram is not None and two.gram is not None:
            place = np.ix_(inner, inner)
            return float(np.vdot(one.gram[place], two.gram[place]))
        whole = float(np.sum((one.x[inner].T @ two.x[inner]) ** 2))
        for some, a, b in zip(mine, one.siblings, two.siblings, strict=True):
            whole -= float(np.sum((a * b)[some]))
        return whole


def halves(question: Int[np.ndarray, " row"], rng: np.random.Generator) -> tuple[Half, Half]:
    """Split the questions in two at random.

    Args:
        question: Number of the question of every row.
        rng: Source of the split.
    """
    count = int(question[-1]) + 1
    first = np.zeros(count, dtype=bool)
    first[rng.permutation(count)[: count // 2]] = True
    return Half(first), Half(~first)


def random_change(
    change: Float[np.ndarray, "row d"], rng: np.random.Generator, *, common: bool = False
) -> Float[np.ndarray, "row d"]:
    """Return a change of the same norm row by row, in random directions.

    Args:
        change: The change to match.
        rng: Source of the directions.
        common: Whether all rows get the same direction.
    """
    shape = (1, change.shape[1]) if common else change.shape
    drawn = rng.normal(size=shape)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return np.asarray(drawn * np.linalg.norm(change, axis=1, keepdims=True))
