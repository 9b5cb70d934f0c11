"""Centred kernel alignment without the bias of few rows or of siblings.

Reference: 1905.00414 (linear CKA), 2405.01012 and 2010.15327 (debiased). The block form
is an exact U-statistic over pairs of questions. CKA cannot see a constant vector added to
every state: read it beside the displacement.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from .inputs import Rows, equal_sized

INVARIANT_TO = ("rotation", "isotropic scale", "shift")
"""Changes of either table that leave every CKA here as it was."""


def biased_cka(x: Float[np.ndarray, "n p"], y: Float[np.ndarray, "n q"]) -> float:
    """Return plain linear CKA; for independent noise it is far from zero when n < p."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    top = np.sum((x.T @ y) ** 2)
    return float(top / np.sqrt(np.sum((x.T @ x) ** 2) * np.sum((y.T @ y) ** 2)))


def debiased_cka(x: Float[np.ndarray, "n p"], y: Float[np.ndarray, "n q"]) -> float:
    """Return CKA from unbiased HSIC; zero on average for independent rows, may be negative."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return _cosine(_hsic(x, y), _hsic(x, x), _hsic(y, y))


def _hsic(x: Float[np.ndarray, "n p"], y: Float[np.ndarray, "n q"]) -> float:
    """Return unbiased HSIC of centred features, up to the factor n(n-3)."""
    n = x.shape[0]
    rx, ry = (x**2).sum(axis=1), (y**2).sum(axis=1)
    cross = (
        np.sum((x.T @ y) ** 2) if max(x.shape[1], y.shape[1]) < n else np.sum(x @ x.T * (y @ y.T))
    )
    corner = rx.sum() * ry.sum() / ((n - 1) * (n - 2))
    return float(cross - n / (n - 2) * (rx @ ry) + corner)


@dataclass(frozen=True, slots=True)
class BlockFeatures:
    """Within-centred features with the inner products of siblings, reused for every pair."""

    x: Float[np.ndarray, "row d"]
    blocks: tuple[Int[np.ndarray, "_question _candidate"], ...]
    siblings: tuple[Float[np.ndarray, "_question _candidate _candidate"], ...]
    own: Float[np.ndarray, " question"]
    """Contribution of every question to the alignment with itself."""


def block_features(rows: Rows, x: Float[np.ndarray, "row d"]) -> BlockFeatures:
    """Centre features within question and prepare them for `block_cka`."""
    blocks = equal_sized(rows)
    centred = np.array(x, dtype=np.float64)
    for index in blocks:
        centred[index] -= centred[index].mean(axis=1, keepdims=True)
    siblings = tuple(centred[i] @ np.swapaxes(centred[i], 1, 2) for i in blocks)
    bare = BlockFeatures(centred, blocks, siblings, np.empty(0))
    return BlockFeatures(centred, blocks, siblings, block_products(bare, bare))


def block_products(one: BlockFeatures, two: BlockFeatures) -> Float[np.ndarray, " question"]:
    """Return, per question, its part of the alignment summed over all other questions."""
    if max(one.x.shape[1], two.x.shape[1]) <= one.x.shape[0]:
        rowwise = ((one.x @ (one.x.T @ two.x)) * two.x).sum(axis=1)
    else:
        rowwise = ((one.x @ one.x.T) * (two.x @ two.x.T)).sum(axis=1)
    parts, firsts = [], []
    for index, a, b in zip(one.blocks, one.siblings, two.siblings, strict=True):
        parts.append(rowwise[index].sum(axis=1) - (a * b).sum(axis=(1, 2)))
        firsts.append(index[:, 0])
    return np.concatenate(parts)[np.argsort(np.concatenate(firsts))]


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
    if max(one.x.shape[1], two.x.shape[1]) <= one.x.shape[0]:
        whole = float(np.sum((one.x.T @ two.x) ** 2))
    else:
        whole = float(np.sum((one.x @ one.x.T) * (two.x @ two.x.T)))
    siblings = sum(float(np.sum(a * b)) for a, b in zip(one.siblings, two.siblings, strict=True))
    return _cosine(whole - siblings, float(one.own.sum()), float(two.own.sum()))


def cka_matrix(tables: Sequence[BlockFeatures]) -> Float[np.ndarray, "step step"]:
    """Return block CKA between all checkpoints."""
    size = len(tables)
    result = np.eye(size)
    for i in range(size):
        for j in range(i):
            result[i, j] = result[j, i] = plain_block_cka(tables[i], tables[j])
    return result


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
