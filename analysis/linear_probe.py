"""Within-question ridge probes with exact leave-one-question-out predictions.

Rows are centred within their question and targets are 1 - 1/k and -1/k, so a probe ranks
candidates and nothing leaks between folds. Reference: docs/methods.md, linear probes.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from .inputs import Rows, equal_sized, mean_by_question, question_count

PENALTIES = (0.3, 3.0, 30.0)
"""Ridge penalties, in units of the mean squared row norm."""

Blocks = tuple[Int[np.ndarray, "_question _candidate"], ...]


def within_centred(rows: Rows, x: Float[np.ndarray, "row d"]) -> Float[np.ndarray, "row d"]:
    """Subtract the mean of each question's own rows."""
    centred: np.ndarray = x - mean_by_question(rows, x.T).T[rows.question]
    return centred


def targets(rows: Rows) -> Float[np.ndarray, "row 1"]:
    """Return 1 - 1/k for right candidates and -1/k for wrong ones."""
    share = 1.0 / np.bincount(rows.question)[rows.question]
    column: np.ndarray = (rows.correct - share)[:, None]
    return column


def permuted_targets(
    rows: Rows, permutations: int, rng: np.random.Generator
) -> Float[np.ndarray, "row permutation"]:
    """Draw the right candidate anew within every question, one column per permutation."""
    sizes = np.bincount(rows.question)
    chosen = rng.integers(0, sizes[:, None], size=(sizes.size, permutations))
    starts = np.cumsum(sizes) - sizes
    labels = np.repeat(-1.0 / sizes, sizes)[:, None].repeat(permutations, axis=1)
    labels[(starts[:, None] + chosen), np.arange(permutations)] += 1.0
    return labels


@dataclass(frozen=True, slots=True)
class Rotated:
    """Within-centred features in their principal axes: K = z z', z'z = diag(power)."""

    z: Float[np.ndarray, "row axis"]
    power: Float[np.ndarray, " axis"]
    scale: float
    """Mean squared row norm, the unit of penalties; 0 where candidates do not differ."""


def rotate(x: Float[np.ndarray, "row d"]) -> Rotated:
    """Rotate features into their principal axes, through the smaller of the two Grams."""
    scale = float((x**2).sum()) / x.shape[0]
    if x.shape[1] <= x.shape[0]:
        power, axes = np.linalg.eigh(x.T @ x)
        return Rotated(x @ axes, np.maximum(power, 0.0), scale)
    power, axes = np.linalg.eigh(x @ x.T)
    power = np.maximum(power, 0.0)
    return Rotated(axes * np.sqrt(power), power, scale)


def loqo_residuals(
    rotated: Rotated,
    labels: Float[np.ndarray, "row label"],
    blocks: Blocks,
    penalty: float,
) -> Float[np.ndarray, "row label"]:
    """Return target minus prediction, each question predicted by a probe that never saw it.

    Args:
        rotated: Features from `rotate`.
        labels: Targets, one column per labelling.
        blocks: Rows of each question, from `equal_sized`.
        penalty: Ridge penalty in units of `rotated.scale`.

    Returns:
        e_G = (I - H_GG)^-1 (y - H y)_G for every question G and column.
    """
    z = rotated.z
    shrink = (1.0 / (rotated.power + penalty * rotated.scale)).astype(z.dtype)
    left = labels - z @ (shrink[:, None] * (z.T @ labels))
    out: np.ndarray = np.empty_like(left)
    for index in blocks:
        own = as_questions(z, index, blocks)
        hat = (own * shrink) @ np.swapaxes(own, 1, 2)
        inverse = np.linalg.inv(np.eye(index.shape[1], dtype=z.dtype) - hat)
        out[index] = inverse @ as_questions(left, index, blocks)
    return out


def as_questions(
    table: Float[np.ndarray, "row column"], index: Int[np.ndarray, "q k"], blocks: Blocks
) -> Float[np.ndarray, "q k column"]:
    """Stack the rows of each question, without a copy where all questions are of one size."""
    if len(blocks) == 1:
        return np.asarray(table.reshape(*index.shape, -1))
    return np.asarray(table[index])


def loqo_predictions(
    rotated: Rotated,
    labels: Float[np.ndarray, "row label"],
    blocks: Blocks,
    penalty: float,
) -> Float[np.ndarray, "row label"]:
    """Return leave-one-question-out predictions."""
    predictions: np.ndarray = labels - loqo_residuals(rotated, labels, blocks, penalty)
    return predictions


def transfer_predictions(
    train: Float[np.ndarray, "row d"],
    test: Float[np.ndarray, "row d"],
    labels: Float[np.ndarray, "row label"],
    blocks: Blocks,
    penalty: float,
) -> Float[np.ndarray, "row label"]:
    """Predict held-out questions of another checkpoint with probes trained at this one."""
    scale = float((train**2).sum()) / train.shape[0]
    kernel = train.T @ train + penalty * scale * np.eye(train.shape[1])
    left = loqo_residuals(rotate(train), labels, blocks, penalty)
    solved = np.linalg.solve(kernel, train.T)
    out: np.ndarray = test @ (solved @ labels)
    for index in blocks:
        own = np.swapaxes(solved.T[index], 1, 2)
        out[index] -= test[index] @ (own @ left[index])
    return out


def expected_hits(
    predictions: Float[np.ndarray, "row label"],
    labels: Float[np.ndarray, "row label"],
    blocks: Blocks,
) -> Float[np.ndarray, "question label"]:
    """Say per question whether the right candidate ranks first; ties share."""
    count = sum(len(index) for index in blocks)
    hits = np.empty((count, labels.shape[1]))
    order = np.argsort(np.concatenate([index[:, 0] for index in blocks]))
    start = 0
    for index in blocks:
        block, right = predictions[index], labels[index] > 0
        at_top = block == block.max(axis=1, keepdims=True)
        tied = at_top.sum(axis=1)
        hits[start : start + len(index)] = (at_top & right).any(axis=1) / tied
        start += len(index)
    return hits[order]


@dataclass(frozen=True, slots=True)
class Probe:
    """What one layer at one checkpoint tells about the right answer."""

    top1: Float[np.ndarray, " question"]
    """Right candidate ranked first, per question, at the best penalty."""
    predictions: Float[np.ndarray, " row"]
    """Held-out predictions at the best penalty."""
    penalty: float
    """The best penalty."""
    null: Float[np.ndarray, " permutation"]
    """Top-1 on permuted labels, each at its own best penalty."""


class Prober:
    """Fits probes on many feature tables of the same rows with the same permutations."""

    def __init__(self, rows: Rows, permutations: int, rng: np.random.Generator) -> None:
        """Draw the permutations once."""
        self.rows, self.blocks = rows, equal_sized(rows)
        self.labels = targets(rows)
        permuted = permuted_targets(rows, permutations, rng)
        self.permuted = permuted.astype(np.float32)
        self.right = [np.argmax(permuted[i], axis=1)[:, None, :] for i in self.blocks]
        self.questions = question_count(rows)

    def probe(self, x: Float[np.ndarray, "row d"]) -> Probe | None:
        """Fit a probe on scaled features, None where candidates do not differ."""
        rotated = rotate(within_centred(self.rows, x))
        if rotated.scale <= 1e-12 * max(float((x**2).mean()), 1e-300):
            return None
        found = []
        for penalty in PENALTIES:
            guess = loqo_predictions(rotated, self.labels, self.blocks, penalty)
            found.append((expected_hits(guess, self.labels, self.blocks)[:, 0], guess[:, 0]))
        best = int(np.argmax([hits.mean() for hits, _ in found]))
        return Probe(*found[best], PENALTIES[best], self._null(rotated))

    def _null(self, rotated: Rotated) -> Float[np.ndarray, " permutation"]:
        """Return top-1 on permuted labels, the maximum over penalties in each."""
        small = Rotated(
            rotated.z.astype(np.float32), rotated.power.astype(np.float32), rotated.scale
        )
        best = np.zeros(self.permuted.shape[1])
        for penalty in PENALTIES:
            guess = loqo_predictions(small, self.permuted, self.blocks, penalty)
            hits = np.zeros(self.permuted.shape[1])
            for index, right in zip(self.blocks, self.right, strict=True):
                block = as_questions(guess, index, self.blocks)
                mark = np.take_along_axis(block, right, axis=1)[:, 0]
                hits += (mark >= block.max(axis=1)).sum(axis=0)
            best = np.maximum(best, hits / self.questions)
        return best
