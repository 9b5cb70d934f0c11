"""How hard a question is for the base, and the questions of one stratum of difficulty.

The base margin of a question is the summed log-probability of its right candidate
minus that of its best wrong one, both without an adapter. Strata are the quartiles of
these margins *in the set at hand, under the base at hand*: `easy` of one set or model
is not `easy` of another. Summed log-probabilities favour short candidates, so a
question whose right answer is long counts as hard.
"""

import math
from collections.abc import Mapping, Sequence

from critical_phase.checkpoints.questions import Question
from critical_phase.errors import ConfigError

STRATA = ("near_impossible", "hard", "middle", "easy")
"""Quartiles of the base margin, lowest first."""
ALL = "all"


def base_margins(
    questions: Sequence[Question], base_scores: Mapping[str, Sequence[float]]
) -> dict[str, float]:
    """Return right minus best wrong under the base, in nats, per question id.

    Args:
        questions: Questions with at least one wrong candidate.
        base_scores: Summed log-probability of every candidate, in listed order.

    Raises:
        ConfigError: A question has no score, not one per candidate, or nothing wrong.
    """
    return {question.id: _margin(question, base_scores.get(question.id)) for question in questions}


def strata(margins: Mapping[str, float]) -> dict[str, str]:
    """Sort questions into quartiles of their base margin.

    Equal margins are kept in the order they come in, so every quartile has its share.
    """
    ranked = sorted(margins, key=lambda name: margins[name])
    return {name: STRATA[rank * len(STRATA) // len(ranked)] for rank, name in enumerate(ranked)}


def select_stratum(
    questions: Sequence[Question], base_scores: Mapping[str, Sequence[float]], name: str
) -> tuple[Question, ...]:
    """Keep the questions of one stratum, in their order; `all` keeps every one.

    Raises:
        ConfigError: No stratum has this name, or no question is in it.
    """
    if name == ALL:
        return tuple(questions)
    if name not in STRATA:
        raise ConfigError(
            f"no stratum {name!r}", fix=f"choose from {', '.join((ALL, *reversed(STRATA)))}"
        )
    stratum = strata(base_margins(questions, base_scores))
    chosen = tuple(question for question in questions if stratum[question.id] == name)
    if not chosen:
        raise ConfigError(
            f"no question is in the stratum {name!r}: {len(questions)} questions have no quartiles",
            fix=f"give at least {len(STRATA)} questions, or use --stratum {ALL}",
        )
    return chosen


def _margin(question: Question, scores: Sequence[float] | None) -> float:
    if scores is None or len(scores) != len(question.candidates) or not question.wrong:
        found = "no score" if scores is None else f"{len(scores)} scores"
        raise ConfigError(
            f"question {question.id!r} has no base margin: {found} for "
            f"{len(question.candidates)} candidates, {len(question.wrong)} of them wrong",
            fix="score every candidate of every question with the base model first",
        )
    if not all(map(math.isfinite, scores)):
        raise ConfigError(
            f"question {question.id!r} has no base margin: the base scores it {list(scores)}",
            fix="load the base in float32, or leave this question out",
        )
    wrong = [score for index, score in enumerate(scores) if index != question.answer]
    return scores[question.answer] - max(wrong)
