"""Centred kernel alignment without the bias of few rows or of siblings.

Reference: 1905.00414 (linear CKA), 2405.01012 and 2010.15327 (debiased). The block form
is an exact U-statistic over pairs of questions. CKA cannot see a constant vector added to
every state: read it beside the displacement.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inputs import Rows
from critical_phase.analysis.probing.question_blocks import Group, contrasts, groups_of

INVARIANT_TO = ("rotation", "isotropic scale", "shift")
"""Changes of either table that leave every CKA here as it was."""

MOST_GRAM_ROWS = 4096
"""Rows up to which a Gram is kept although features would be smaller: 128 MiB."""


def biased_cka(x: Float[np.ndarray, "n p"], y: Float[np.ndarray, "n q"]) -> float:
    """Return plain linear CKA; for independent noise it is far from zero when n < p."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return _cosine(_cross(x, y), _cross(x, x), _cross(y, y))


def biased_cka_of_noise(rows: int, p: int, q: int) -> float:
    """Return what plain linear CKA gives for independent Gaussian tables: not 0.

    Args:
        rows: Rows of both tables.
        p: Dimensions of the first table that vary.
        q: Dimensions of the second.

    Returns:
        sqrt(p q / ((rows + p)(rows + q))), the limit for many rows and dimensions.

    Reference:
        2405.01012.
    """
    return float(np.sqrt(p * q / ((rows + p) * (rows + q))))


def debiased_cka(x: Float[np.ndarray, "n p"], y: Float[np.ndarray, "n q"]) -> float:
    """Return CKA from unbiased HSIC; zero on average for independent rows, may be negative."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return _cosine(hsic(x, y), hsic(x, x), hsic(y, y))


def _cross(x: Float[np.ndarray, "n p"], y: Float[np.ndarray, "n q"]) -> float:
    """Return the inner product of two Grams, through the smaller tables."""
    if max(x.shape[1], y.shape[1]) < x.shape[0]:
        return float(np.sum((x.T @ y) ** 2))
    one = x @ x.T
    return float(np.vdot(one, one if y is x else y @ y.T))


def hsic(x: Float[np.ndarray, "n p"], y: Float[np.ndarray, "n q"]) -> float:
    """Return unbiased HSIC of centred features, times n(n-3)."""
    n, cross = x.shape[0], _cross(x, y)
    rx, ry = (x**2).sum(axis=1), (y**2).sum(axis=1)
    corner = rx.sum() * ry.sum() / ((n - 1) * (n - 2))
    return float(cross - n / (n - 2) * (rx @ ry) + corner)


@dataclass(frozen=True, slots=True)
class BlockFeatures:
    """Contrasts within questions with the inner products of siblings, reused for every pair.

    k - 1 orthonormal contrasts stand for the k centred rows of a question: sums of squared
    inner products over pairs of questions are the same, over a quarter fewer rows at k = 4.
    """

    x: Float[np.ndarray, "contrast d"]
    groups: tuple[Group, ...]
    siblings: tuple[Float[np.ndarray, "_question _contrast _contrast"], ...]
    own: Float[np.ndarray, " question"]
    """Contribution of every question to the alignment with itself."""
    gram: Float[np.ndarray, "contrast contrast"] | None
    """Inner products of contrasts of different questions, 0 for siblings; None for many rows."""


def prefers_gram(rows: int, width: int) -> bool:
    """Say whether a Gram, made once and used for several pairs, beats products of features."""
    return rows <= width or (rows <= 8 * width and rows <= MOST_GRAM_ROWS)


def block_features(rows: Rows, x: Float[np.ndarray, "row d"]) -> BlockFeatures:
    """Turn features into contrasts within questions and prepare them for `block_cka`."""
    groups = groups_of(rows)
    inner = contrasts(groups, np.asarray(x, dtype=np.float64))
    siblings = tuple(own @ np.swapaxes(own, 1, 2) for own in (inner[g.inner] for g in groups))
    gram = gram_apart(inner, groups) if prefers_gram(*inner.shape) else None
    bare = BlockFeatures(inner, groups, siblings, np.empty(0), gram)
    return BlockFeatures(inner, groups, siblings, block_products(bare, bare), gram)


def gram_apart(
    x: Float[np.ndarray, "contrast d"], groups: Sequence[Group]
) -> Float[np.ndarray, "contrast contrast"]:
    """Return inner products of contrasts, with 0 where both belong to one question."""
    gram: np.ndarray = x @ x.T
    for one in groups:
        gram[one.inner[:, :, None], one.inner[:, None, :]] = 0.0
    return gram


def block_products(one: BlockFeatures, two: BlockFeatures) -> Float[np.ndarray, " question"]:
    """Return, per question, its part of the alignment summed over all other questions."""
    if one.gram is not None and two.gram is not None:
        rowwise = np.einsum("ij,ij->i", one.gram, two.gram)
    else:
        rowwise = ((one.x @ (one.x.T @ two.x)) * two.x).sum(axis=1)
    found = np.empty(sum(group.question.size for group in one.groups))
    for group, a, b in zip(one.groups, one.siblings, two.siblings, strict=True):
        taken = 0.0 if one.gram is not None and two.gram is not None else (a * b).sum(axis=(1, 2))
        found[group.question] = rowwise[group.inner].sum(axis=1) - taken
    return found


def block_cka(
    one: BlockFeatures, two: BlockFeatures
) -> tuple[float, Float[np.ndarray, " question"]]:
    """Return question-block-debiased CKA and its jackknife pseudo-values per question."""
    cross = block_products(one, two)
    whole = _cosine(cross.sum(), one.own.sum(), two.own.sum())
    without = _cosines(
        cross.sum() - 2 * cross, one.own.sum() - 2 * one.own, two.own.sum() - 2 * two.own
    )
    count = cross.size
    return whole, count * whole - (count - 1) * without


def plain_block_cka(one: BlockFeatures, two: BlockFeatures) -> float:
    """Return the same CKA without pseudo-values, at half the work."""
    if one.gram is not None and two.gram is not None:
        whole = float(np.vdot(one.gram, two.gram))
    else:
        whole = float(np.sum((one.x.T @ two.x) ** 2))
        whole -= sum(float(np.vdot(a, b)) for a, b in zip(one.siblings, two.siblings, strict=True))
    return _cosine(whole, float(one.own.sum()), float(two.own.sum()))


def _cosine(cross: float, one: float, two: float) -> float:
    """Divide by the geometric mean, NaN where a table has no signal between questions."""
    return float(cross / np.sqrt(one * two)) if one > 0 and two > 0 else float("nan")


def _cosines(
    cross: Float[np.ndarray, " q"], one: Float[np.ndarray, " q"], two: Float[np.ndarray, " q"]
) -> Float[np.ndarray, " q"]:
    """Do the same for many."""
    size = one * two
    good = (one > 0) & (two > 0)
    scale = np.sqrt(np.where(good, size, 1.0))
    return np.asarray(np.divide(cross, scale, out=np.full(cross.size, np.nan), where=good))
