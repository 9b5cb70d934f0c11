"""The right answer of another question, unlike every candidate of this one.

The paper's released code removes only the gold string from its pool, so its
"irrelevant" answer can be a wrong candidate of the very question: a near miss in
disguise. Here every candidate of the question is left out.
"""

from collections import Counter

import numpy as np

from critical_phase.checkpoints.negatives.kind import Choice, NegativeKind, Pool
from critical_phase.checkpoints.negatives.other_questions import draw_other
from critical_phase.checkpoints.questions import Question
from critical_phase.errors import ConfigError


def _choose(question: Question, pool: Pool, rng: np.random.Generator) -> Choice:
    other = draw_other(pool.questions, lambda q: q.right not in question.candidates, rng)
    if other is None:
        raise _none_for([question.id])
    return Choice(other.right, "irrelevant")


def _check(pool: Pool) -> None:
    rights = Counter(question.right for question in pool.questions)
    without = [
        question.id
        for question in pool.questions
        if sum(rights[text] for text in set(question.candidates)) == len(pool.questions)
    ]
    if without:
        raise _none_for(without)


def _none_for(ids: list[str]) -> ConfigError:
    return ConfigError(
        f"question {ids[0]!r}: no other question has an answer unlike its candidates "
        f"({len(ids)} such questions)",
        fix="use more varied questions, or negatives of another kind",
    )


IRRELEVANT = NegativeKind("irrelevant", frozenset(), _choose, _check)
