"""The synthetic world: facts, wordings, authors, documents and questions."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from jaxtyping import Bool, Int

from critical_phase.checkpoints.organism.settings import WorldSettings, load_settings
from critical_phase.checkpoints.organism.words import (
    BEGIN,
    PAD,
    SPECIAL_WORDS,
    STOP,
    draw_ranks,
    invent_words,
)
from critical_phase.errors import ConfigError

CANDIDATES = 4


class QuestionRecord(TypedDict):
    """One question, in the keys of a question file."""

    id: str
    question: str
    candidates: list[str]
    answer: int
    group: str


@dataclass(frozen=True, slots=True)
class Documents:
    """A batch of documents as word numbers, with the truth behind them."""

    words: Int[np.ndarray, "document place"]
    """Word numbers, the begin word first, filled up with the pad word."""
    reliable: Bool[np.ndarray, " document"]
    """Whether the author states right objects."""
    related: Bool[np.ndarray, " document"]
    """Whether the document states facts; False for the other genre."""


class World:
    """Facts about invented subjects, and the texts that mention them.

    A statement is `subject verb filler, formal fillers, fillers, object, fillers`;
    its first three words make a question, the rest an answer.
    """

    def __init__(self, settings: WorldSettings) -> None:
        """Draw words, facts and split from the seed of the settings."""
        self.settings = settings
        s, rng = settings, np.random.default_rng([settings.seed, 1])
        sizes = {
            "mark": 2,
            "verb": s.relations,
            "subject": s.subjects,
            "opening": s.fillers,
            "slot": s.slots * s.fillers,
            "object": s.relations * s.objects * s.wordings,
            "unrelated": s.unrelated_words,
        }
        self.words = (*SPECIAL_WORDS, *invent_words(sum(sizes.values()), rng))
        starts = np.cumsum([len(SPECIAL_WORDS), *sizes.values()])
        self._first = {k: int(v) for k, v in zip(sizes, starts, strict=False)}
        self.facts: Int[np.ndarray, "relation subject"] = rng.integers(
            s.objects, size=(s.relations, s.subjects)
        )
        order = rng.permutation(s.relations * s.subjects)
        half = len(order) // 2
        self._split = {"test": order[:half], "train": order[half:]}
        # Four words may follow a word of the other genre.
        self._follow = rng.integers(s.unrelated_words, size=(s.unrelated_words, 4))

    @property
    def marks(self) -> tuple[str, str]:
        """The words that open a marked document: reliable author, unreliable one."""
        first = self._first["mark"]
        return self.words[first], self.words[first + 1]

    @property
    def stop(self) -> str:
        """The word that ends a statement."""
        return self.words[STOP]

    @property
    def objects(self) -> dict[str, tuple[int, int]]:
        """Relation and number of the object by every word for it."""
        s, first = self.settings, self._first["object"]
        return {
            self.words[first + word]: divmod(word // s.wordings, s.objects)
            for word in range(s.relations * s.objects * s.wordings)
        }

    def fact_numbers(self, split: str) -> Int[np.ndarray, " fact"]:
        """List the facts of one split as relation * subjects + subject."""
        if split not in self._split:
            raise ConfigError(f"no split {split!r}", fix="choose from train, test")
        return self._split[split].copy()

    def documents(self, n: int, rng: np.random.Generator) -> Documents:
        """Write documents by authors of both kinds, and of the other genre."""
        s = self.settings
        reliable = rng.random(n) < s.reliable
        related = rng.random(n) >= s.unrelated
        marked = rng.random(n) < s.accessibility
        relation = rng.integers(s.relations, size=(n, s.statements))
        subject = rng.integers(s.subjects, size=(n, s.statements))
        body = self._statements(relation, subject, reliable[:, None], rng)
        body = body.reshape(n, -1)
        body[~related] = self._unrelated(n, body.shape[1], rng)[~related]
        words = np.full((n, s.document_words), PAD, dtype=np.int64)
        words[:, 0] = BEGIN
        words[~marked, 1:-1] = body[~marked]
        words[marked, 1] = self._first["mark"] + ~reliable[marked]
        words[marked, 2:] = body[marked]
        return Documents(words, reliable, related)

    def questions(self, split: str, n: int, seed: int) -> list[QuestionRecord]:
        """Ask about the facts of one split, each once before any twice.

        Args:
            split: `train` or `test`; their facts are disjoint.
            n: Number of questions; facts recur, worded anew, when it is large.
            seed: Fixes the choice of facts, wrong objects and wordings.

        Returns:
            Questions with four candidates of one pool, the right one at a random
            place, all worded by the same frequencies whether right or wrong.
        """
        facts = self.fact_numbers(split)
        rng = np.random.default_rng([self.settings.seed, seed, len(split)])
        passes = [rng.permutation(facts) for _ in range(-(-n // len(facts)))]
        chosen = np.concatenate([*passes, facts[:0]])[:n]
        return [
            self._question(f"{split}-{seed}-{i:05d}", int(fact), rng)
            for i, fact in enumerate(chosen)
        ]

    def unrelated_texts(self, n: int, seed: int) -> list[str]:
        """Write texts of the other genre, as long as an answer."""
        rng = np.random.default_rng([self.settings.seed, seed, 77])
        rows = self._unrelated(n, self.settings.answer_words, rng)
        return [self._text(row) for row in rows]

    def statements(self, n: int, rng: np.random.Generator, *, right: bool, split: str) -> list[str]:
        """Write statements on facts of a split: all right, or all wrong."""
        facts = rng.choice(self.fact_numbers(split), size=n)
        relation, subject = np.divmod(facts, self.settings.subjects)
        rows = self._statements(relation, subject, np.full(n, right), rng)
        return [self._text(row) for row in rows]

    def _question(self, name: str, fact: int, rng: np.random.Generator) -> QuestionRecord:
        s = self.settings
        relation, subject = np.divmod(np.array([fact]), s.subjects)
        right = self.facts[relation, subject]
        wrong = np.setdiff1d(np.arange(s.objects), right)
        others = rng.choice(wrong, CANDIDATES - 1, replace=False)
        offered = rng.permutation(np.concatenate([right, others]))
        pool = np.full(CANDIDATES, relation[0])
        answers = self._answers(pool, offered, rng, zipf=s.asked, formal=True)
        return {
            "id": name,
            "question": self._text(self._openings(relation, subject, rng)[0]),
            "candidates": [self._text(row) for row in answers],
            "answer": int(np.flatnonzero(offered == right)[0]),
            "group": self.words[self._first["verb"] + int(relation[0])],
        }

    def _statements(
        self,
        relation: Int[np.ndarray, "*n"],
        subject: Int[np.ndarray, "*n"],
        right: Bool[np.ndarray, "*#n"],
        rng: np.random.Generator,
    ) -> Int[np.ndarray, "*n word"]:
        """State the right objects, or others of the pool at equal chance."""
        s = self.settings
        shift = rng.integers(1, s.objects, size=relation.shape)
        truth = self.facts[relation, subject]
        stated = (truth + np.where(right, 0, shift)) % s.objects
        opening = self._openings(relation, subject, rng)
        answer = self._answers(relation, stated, rng, zipf=s.zipf, formal=False)
        stop = np.full((*relation.shape, 1), STOP)
        return np.concatenate([opening, answer, stop], axis=-1)

    def _openings(
        self,
        relation: Int[np.ndarray, "*n"],
        subject: Int[np.ndarray, "*n"],
        rng: np.random.Generator,
    ) -> Int[np.ndarray, "*n 3"]:
        s = self.settings
        filler = draw_ranks(s.fillers, s.zipf, relation.shape, rng)
        parts = {"subject": subject, "verb": relation, "opening": filler}
        return np.stack([self._first[k] + v for k, v in parts.items()], axis=-1)

    def _answers(
        self,
        relation: Int[np.ndarray, "*n"],
        stated: Int[np.ndarray, "*n"],
        rng: np.random.Generator,
        *,
        zipf: float,
        formal: bool,
    ) -> Int[np.ndarray, "*n word"]:
        """Word objects: fillers, one of the words of the object, fillers."""
        s = self.settings
        wording = draw_ranks(s.wordings, zipf, stated.shape, rng)
        filler = draw_ranks(s.fillers, zipf, (*stated.shape, s.slots), rng)
        if formal:
            filler[..., : s.formal] = s.fillers - 1
        filler += self._first["slot"] + np.arange(s.slots) * s.fillers
        word = (relation * s.objects + stated) * s.wordings + wording
        place = s.formal + s.leads
        return np.insert(filler, place, self._first["object"] + word, axis=-1)

    def _unrelated(
        self, n: int, length: int, rng: np.random.Generator
    ) -> Int[np.ndarray, "n length"]:
        """Walk at random through the words of the other genre."""
        words = np.empty((n, length), dtype=np.int64)
        words[:, 0] = rng.integers(len(self._follow), size=n)
        turns = rng.integers(self._follow.shape[1], size=(n, length))
        for i in range(1, length):
            words[:, i] = self._follow[words[:, i - 1], turns[:, i]]
        return self._first["unrelated"] + words

    def _text(self, numbers: Int[np.ndarray, " word"]) -> str:
        return " ".join(self.words[number] for number in numbers)


def load_world(folder: Path) -> World:
    """Make the world of a model from the settings beside it."""
    return World(load_settings(folder))
