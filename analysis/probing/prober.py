"""Probes on many feature tables of the same rows, held against the same permuted labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inputs import Rows, question_count
from critical_phase.analysis.probing.linear_probe import (
    PENALTIES,
    Leverage,
    Rotated,
    expected_hits,
    label_contrasts,
    leverages,
    loqo_predictions,
    rotate,
    shrinkage,
)
from critical_phase.analysis.probing.question_blocks import Group, choices, contrasts, groups_of
from critical_phase.analysis.scores.answer_text import hash_choices

NARROW = 256
"""Widest Gram that is decomposed in float64; wider ones in the float32 of hidden states."""


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
    control: float
    """Top-1 on labels that hang on the answer's text alone, at their own best penalty."""


class Prober:
    """Fits probes with the same questions, labels and permutations."""

    def __init__(self, rows: Rows, permutations: int, rng: np.random.Generator) -> None:
        """Draw the permutations once."""
        self.rows, self.groups = rows, groups_of(rows)
        self.questions = question_count(rows)
        truth = choices(self.groups, rows.correct.astype(np.float64))
        control = hash_choices(rows, self.groups)
        self.right = [np.concatenate(pair, axis=1) for pair in zip(truth, control, strict=True)]
        self.permuted = permuted_choices(self.groups, permutations, rng)
        self._labels = label_contrasts(self.groups, self.permuted, np.float32)
        pairs = list(zip(self.groups, self.permuted, strict=True))
        self._marks = [_marked(one, mark) for one, mark in pairs]
        self._places = [_places(one, mark) for one, mark in pairs]

    @property
    def permutations(self) -> int:
        """Return how often the labels are permuted."""
        return int(self._labels.shape[1])

    def rotated(self, x: Float[np.ndarray, "row d"]) -> Rotated | None:
        """Rotate scaled features, None where candidates do not differ."""
        wide = min(x.shape[1], self._labels.shape[0]) > NARROW
        rows = np.asarray(x, dtype=np.float32 if wide else np.float64)
        found = rotate(contrasts(self.groups, rows), len(x))
        return None if found.scale <= 1e-12 * max(float((x**2).mean()), 1e-300) else found

    def probe(self, x: Float[np.ndarray, "row d"]) -> Probe | None:
        """Fit probes at every penalty and keep the best; None where candidates do not differ."""
        rotated = self.rotated(x)
        if rotated is None:
            return None
        parts = leverages(rotated, self.groups, PENALTIES)
        guess = loqo_predictions(rotated, self.groups, self.right, known=parts)
        hits = expected_hits(guess, self.groups, self.right)
        level = hits.mean(axis=1)
        best = int(np.argmax(level[:, 0]))
        return Probe(
            hits[best, :, 0].copy(),  # a view would keep all penalties and labels
            guess[best, :, 0].astype(np.float64),
            PENALTIES[best],
            self._null(rotated, parts),
            float(level[:, 1:].max(axis=0).mean()),
        )

    def _null(
        self, rotated: Rotated, leverage: Sequence[Sequence[Leverage]]
    ) -> Float[np.ndarray, " permutation"]:
        """Return top-1 on permuted labels, the maximum over penalties in each."""
        z = rotated.z.astype(np.float32)
        turned = z.T @ self._labels
        best = np.zeros(self.permutations)
        for penalty, parts in zip(PENALTIES, leverage, strict=True):
            shrink = shrinkage(rotated, penalty).astype(np.float32)
            smooth = z @ (shrink[:, None] * turned)
            hits = np.zeros(self.permutations)
            for one, place, buffer, part in zip(
                self.groups, self._places, self._marks, parts, strict=True
            ):
                own = smooth[one.inner[0, 0] : one.inner[-1, -1] + 1]
                buffer[:, : one.inner.shape[1]] = own.reshape(len(one.inner), -1, self.permutations)
                both = np.concatenate([part.apply, -part.own], axis=2).astype(np.float32)
                guess = both @ buffer
                hits += (np.take(guess, place) >= guess.max(axis=1)).sum(axis=0)
            best = np.maximum(best, hits / self.questions)
        return best


def _places(one: Group, mark: Int[np.ndarray, "q label"]) -> Int[np.ndarray, "q label"]:
    """Return where the right candidate lies in a flattened table of question, k and label."""
    (many, k), count = one.index.shape, mark.shape[1]
    return np.asarray((np.arange(many)[:, None] * k + mark) * count + np.arange(count))


def _marked(one: Group, mark: Int[np.ndarray, "q label"]) -> Float[np.ndarray, "q both label"]:
    """Make room for contrasts, with the labels as 0 and 1 below them."""
    many, k = one.index.shape
    buffer = np.zeros((many, 2 * k - 1, mark.shape[1]), dtype=np.float32)
    np.put_along_axis(buffer[:, k - 1 :], mark[:, None, :], 1.0, axis=1)
    return buffer


def permuted_choices(
    groups: tuple[Group, ...], permutations: int, rng: np.random.Generator
) -> list[Int[np.ndarray, "_q label"]]:
    """Draw the right candidate anew within every question, one column per permutation."""
    return [rng.integers(0, one.index.shape[1], (len(one.index), permutations)) for one in groups]
