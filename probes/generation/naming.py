"""Which candidate a free answer names: the rule, exactly as it is printed beside the results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from critical_phase.checkpoints import Question, plain_text
from critical_phase.checkpoints.organism import World
from critical_phase.errors import ConfigError

RIGHT, WRONG, OTHER, SEVERAL, NONE, EMPTY = (
    "right",
    "wrong",
    "other",
    "several",
    "none",
    "empty",
)
_EDGES = " \t\r\n.,;:!?\"'`()[]{}<>*_-\u2013\u2014\u2018\u2019\u201c\u201d\u2026"


@dataclass(frozen=True, slots=True)
class Named:
    """What one answer names."""

    category: str
    """`right`, `wrong`, `other` (something that is no candidate), `several`, `none`, `empty`."""
    candidate: int | None = None
    """Number of the candidate, where exactly one is named."""


@runtime_checkable
class Rule(Protocol):
    """Turns the text of an answer into what it names."""

    about: str

    def named(self, question: Question, text: str) -> Named:
        """Return what an answer to a question names."""


class CandidateRule:
    """An answer names the candidate that it is, or begins with."""

    about = (
        "case, spaces and punctuation at both ends do not count; an answer names the longest "
        "candidate that it equals or begins with, at the end of a word; several: two candidates "
        "that are equal by this; none: no candidate; empty: no word"
    )

    def named(self, question: Question, text: str) -> Named:
        """Return what an answer to a question names."""
        said = _plain(text)
        if not said:
            return Named(EMPTY)
        wordings = [_plain(one) for one in question.candidates]
        longest = max((w for w in wordings if w and _begins(said, w)), key=len, default=None)
        if longest is None:
            return Named(NONE)
        places = [i for i, wording in enumerate(wordings) if wording == longest]
        if len(places) > 1:
            return Named(SEVERAL)
        return Named(RIGHT if places[0] == question.answer else WRONG, places[0])


class WorldRule:
    """An answer names the objects that its words stand for, in any of their wordings."""

    about = (
        "an answer names every object of the world that one of its words is a wording of; "
        "right or wrong: that of a candidate and no other object; other: an object of no "
        "candidate; several: more than one object; none: no object; empty: no word"
    )

    def __init__(self, world: World, questions: Sequence[Question]) -> None:
        """Look up what every candidate names.

        Raises:
            ConfigError: A candidate names no object of the world, or more than one.
        """
        self._objects: Mapping[str, tuple[int, int]] = world.objects
        self._candidates = {item.id: self._of(item) for item in questions}

    @classmethod
    def fits(cls, world: World, questions: Sequence[Question]) -> bool:
        """Tell whether every candidate of every question names one object."""
        try:
            cls(world, questions)
        except ConfigError:
            return False
        return True

    def named(self, question: Question, text: str) -> Named:
        """Return what an answer to a question names."""
        if not text.split():
            return Named(EMPTY)
        found = self._said(text)
        if len(found) != 1:
            return Named(SEVERAL if found else NONE)
        candidates = self._candidates[question.id]
        (one,) = found
        if one not in candidates:
            return Named(OTHER)
        place = candidates.index(one)
        return Named(RIGHT if place == question.answer else WRONG, place)

    def _of(self, question: Question) -> tuple[tuple[int, int], ...]:
        named = [self._said(text) for text in question.candidates]
        if any(len(one) != 1 for one in named) or len(set().union(*named)) < len(named):
            raise ConfigError(
                f"question {question.id!r}: its candidates do not name one object of the world each"
            )
        return tuple(next(iter(one)) for one in named)

    def _said(self, text: str) -> set[tuple[int, int]]:
        return {self._objects[word] for word in text.split() if word in self._objects}


def _plain(text: str) -> str:
    return plain_text(text).strip(_EDGES)


def _begins(said: str, wording: str) -> bool:
    rest = said[len(wording) :]
    return said.startswith(wording) and not (rest and rest[0].isalnum())
