"""What can be guessed from the wording of answers alone, without any model.

Reference: docs/methods.md, surface baselines; 2402.12483 and 2504.07825 (choices alone).
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inputs import Rows, mean_by_question, question_count
from critical_phase.analysis.probing.prober import Prober
from critical_phase.analysis.scores.curves import top_hits

MOST_WORDS = 1000
"""Words of a bag; the ones that most answers have, of those that several questions share."""

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Split a text into words, in lower case and without punctuation."""
    return _WORD.findall(text.lower())


def rule_hits(rows: Rows, scores: Float[np.ndarray, " row"]) -> Float[np.ndarray, " question"]:
    """Say per question whether the right answer scores highest; ties share, 1/k if all tie."""
    hits = top_hits(rows, scores[None]).value[0]
    chances: np.ndarray = 1.0 / np.bincount(rows.question)
    return np.where(np.isfinite(hits), hits, chances)


def overlap(rows: Rows, questions: Sequence[str]) -> Float[np.ndarray, " row"]:
    """Return the share of each answer's words that its question has too; 0 without words."""
    known = [set(words(text)) for text in questions]
    found = []
    for text, question in zip(rows.texts, rows.question.tolist(), strict=True):
        own = words(text)
        found.append(sum(word in known[question] for word in own) / max(len(own), 1))
    return np.array(found)


def place_hits(rows: Rows) -> Float[np.ndarray, " question"]:
    """Say per question whether the place that is right most often elsewhere is right here.

    Places are those of the question file; no score sees them. Equally frequent places share.
    """
    first = np.searchsorted(rows.question, np.arange(question_count(rows)))
    sizes = np.bincount(rows.question)
    right = np.flatnonzero(rows.correct) - first
    often = np.bincount(right, minlength=int(sizes.max()))
    found = np.empty(sizes.size)
    for at, (place, size) in enumerate(zip(right, sizes, strict=True)):
        counts = often[:size].copy()
        counts[place] -= 1
        best = counts == counts.max()
        found[at] = best[place] / best.sum()
    return found


def bag_of_words(rows: Rows, most: int = MOST_WORDS) -> Float[np.ndarray, "row word"]:
    """Count words of every answer, weighted by how rare they are: tf * (ln((1+n)/(1+df)) + 1).

    Words of one question alone say nothing about another and are left out; no label is used.
    """
    bags = [Counter(words(text)) for text in rows.texts]
    seen: dict[str, set[int]] = {}
    answers: Counter[str] = Counter()
    for bag, question in zip(bags, rows.question.tolist(), strict=True):
        answers.update(bag.keys())
        for word in bag:
            seen.setdefault(word, set()).add(question)
    shared = sorted((w for w in seen if len(seen[w]) > 1), key=lambda w: (-answers[w], w))[:most]
    column = {word: at for at, word in enumerate(shared)}
    table = np.zeros((len(bags), len(shared)))
    for row, bag in enumerate(bags):
        for word, count in bag.items():
            if word in column:
                table[row, column[word]] = count
    rare = np.log((1 + len(bags)) / (1 + np.array([answers[w] for w in shared]))) + 1
    weighted: np.ndarray = table * rare
    return weighted


@dataclass(frozen=True, slots=True)
class WordGuess:
    """How well the words of answers tell right from wrong on questions not learned from."""

    hits: Float[np.ndarray, " question"]
    """Under the best penalty: 1 right, 0 wrong, ties share."""
    null: Float[np.ndarray, " permutation"]
    """Accuracy with right answers drawn at random, the best penalty taken each time."""

    @property
    def p(self) -> float:
        """Return the share of random labellings that do as well."""
        return float((1 + (self.null >= self.hits.mean() - 1e-12).sum()) / (1 + self.null.size))


def guess_from_words(rows: Rows, permutations: int, rng: np.random.Generator) -> WordGuess | None:
    """Learn right from wrong from bags of words, each question held out in turn.

    Args:
        rows: The candidates with their texts.
        permutations: Labellings in which the right answer is drawn at random.
        rng: Source of those.

    Returns:
        Leave-one-question-out ridge, at the best penalty in the data and in every labelling
        alike; None where candidates do not differ in shared words.
    """
    bag = bag_of_words(rows)
    found = Prober(rows, permutations, rng).probe(bag) if bag.size else None
    return None if found is None else WordGuess(found.top1, found.null)


def within_correlation(
    rows: Rows, one: Float[np.ndarray, "*rest row"], two: Float[np.ndarray, "*rest row"]
) -> Float[np.ndarray, "*rest question"]:
    """Correlate two values of the candidates within every question; 0 where one is constant."""
    a = one - mean_by_question(rows, one)[..., rows.question]
    b = two - mean_by_question(rows, two)[..., rows.question]
    size = np.sqrt(mean_by_question(rows, a**2) * mean_by_question(rows, b**2))
    dot = mean_by_question(rows, a * b)
    found: np.ndarray = np.divide(dot, size, out=np.zeros_like(dot), where=size > 1e-12)
    return found
