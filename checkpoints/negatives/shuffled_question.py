"""A wrong answer of this question after the text of another one.

The other question must not list the answer: as a candidate of the question shown it
would be a near miss again, or even right.
"""

from collections import Counter

import numpy as np

from critical_phase.checkpoints.negatives.kind import Choice, NegativeKind, Pool
from critical_phase.checkpoints.negatives.other_questions import draw_other
from critical_phase.checkpoints.questions import Question
from critical_phase.errors import ConfigError


def _choose(question: Question, pool: Pool, rng: np.random.Generator) -> Choice:
    answer = question.wrong[int(rng.integers(len(question.wrong)))]
    other = draw_other(pool.questions, lambda q: _fits(q, question, answer), rng)
    if other is None:
        raise _none_for([question.id])
    return Choice(answer, "shuffled_question", other.id)


def _fits(other: Question, question: Question, answer: str) -> bool:
    return other.question != question.question and answer not in other.candidates


def _check(pool: Pool) -> None:
    texts = Counter(question.question for question in pool.questions)
    listed = [(q.question, answer) for q in pool.questions for answer in set(q.candidates)]
    both, listing = Counter(listed), Counter(answer for _, answer in listed)
    without = [
        question.id
        for question in pool.questions
        for answer in question.wrong
        # All questions but those with this text, with this answer, or with both.
        if len(pool.questions)
        == texts[question.question] + listing[answer] - both[question.question, answer]
    ]
    if without:
        raise _none_for(list(dict.fromkeys(without)))


def _none_for(ids: list[str]) -> ConfigError:
    return ConfigError(
        f"question {ids[0]!r}: every question with another text lists its wrong answer too "
        f"({len(ids)} such questions)",
        fix="use questions whose candidates differ, or negatives of another kind",
    )


SHUFFLED_QUESTION = NegativeKind(
    "shuffled_question", frozenset({"wrong_candidates", "question_texts"}), _choose, _check
)
