"""Which answer a head is trained on, by name (arXiv 2503.14391, section on negatives).

One function per kind; each sees one question and the whole training set.
"""

from collections.abc import Callable, Sequence

import numpy as np

from critical_phase.checkpoints.questions import Question
from critical_phase.errors import ConfigError

Choice = Callable[[Question, Sequence[Question], Sequence[str], np.random.Generator], str]


def right_answer(
    question: Question,
    questions: Sequence[Question],
    texts: Sequence[str],
    rng: np.random.Generator,
) -> str:
    """Choose the right candidate: what the positive head learns."""
    return question.right


def near_miss(
    question: Question,
    questions: Sequence[Question],
    texts: Sequence[str],
    rng: np.random.Generator,
) -> str:
    """Choose a wrong candidate of the same question, uniformly."""
    return question.wrong[int(rng.integers(len(question.wrong)))]


def irrelevant(
    question: Question,
    questions: Sequence[Question],
    texts: Sequence[str],
    rng: np.random.Generator,
) -> str:
    """Choose the right answer of another question, unlike every candidate of this one."""
    for _ in range(1000):
        other = questions[int(rng.integers(len(questions)))].right
        if other not in question.candidates:
            return other
    raise ConfigError(
        f"question {question.id!r}: no other question has an answer unlike its candidates",
        fix="use more varied questions, or negatives of another kind",
    )


def unrelated(
    question: Question,
    questions: Sequence[Question],
    texts: Sequence[str],
    rng: np.random.Generator,
) -> str:
    """Choose a text that has nothing to do with the questions."""
    if not texts:
        raise ConfigError(
            "negatives of the kind 'unrelated' need texts from elsewhere",
            fix="give --unrelated FILE, one text per line",
        )
    return texts[int(rng.integers(len(texts)))]


NEGATIVES: dict[str, Choice] = {
    "near_miss": near_miss,
    "irrelevant": irrelevant,
    "unrelated": unrelated,
}


def negative_kind(name: str) -> Choice:
    """Look up a kind of negatives by name.

    Raises:
        ConfigError: No kind has this name.
    """
    if name not in NEGATIVES:
        raise ConfigError(
            f"no kind of negatives {name!r}", fix=f"choose from {', '.join(NEGATIVES)}"
        )
    return NEGATIVES[name]
