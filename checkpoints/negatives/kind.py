"""What a kind of negatives is: a name, what it needs, and a way to choose one answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from critical_phase.checkpoints.questions import Question

Need = Literal["wrong_candidates", "texts", "question_texts", "base_scores"]
NO_QUESTION = ""
"""Value of `Choice.shown` where the answer stands alone, after no question at all."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Everything an answer may be chosen from."""

    questions: Sequence[Question]
    """The training set."""
    texts: Sequence[str] = ()
    """Texts that have nothing to do with the questions."""
    base_scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Per question id the base's summed log-probability of every candidate, in listed order."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The one answer whose likelihood is raised, and what it stands behind."""

    answer: str
    source: str
    """Name of the kind that chose it."""
    shown: str | None = None
    """Id of the other question whose text is shown; `NO_QUESTION` for no text; None for its own."""


Choose = Callable[[Question, Pool, np.random.Generator], Choice]


def _anything(pool: Pool) -> None:
    """Refuse nothing."""


@dataclass(frozen=True, slots=True)
class NegativeKind:
    """One way to choose the answers a head is trained on."""

    name: str
    needs: frozenset[Need]
    """What the pool must hold; `check_supply` looks for it before any training."""
    choose: Choose
    """Choose the answer of one question; draws from the generator it is given only."""
    check: Callable[[Pool], None] = _anything
    """Raise ConfigError where the needs are met and some question still has no answer."""
