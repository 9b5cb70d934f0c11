"""Refuse, before any training, a question set that cannot supply a kind of negatives."""

import math
from collections.abc import Callable, Sequence

from critical_phase.checkpoints.negatives.kind import Need, NegativeKind, Pool
from critical_phase.errors import ConfigError


def check_supply(kind: NegativeKind, pool: Pool) -> None:
    """Check that a pool can supply an answer of one kind for every question in it.

    Raises:
        ConfigError: It cannot; says what is missing, how often, and a first question.
    """
    for need, check in _CHECKS.items():
        if need in kind.needs:
            check(kind.name, pool)
    kind.check(pool)


def _wrong_candidates(kind: str, pool: Pool) -> None:
    without = [question.id for question in pool.questions if not question.wrong]
    if without:
        raise ConfigError(
            f"negatives of the kind {kind!r} need wrong candidates: {_none(without, pool)}",
            fix="give every question at least one wrong candidate",
        )


def _texts(kind: str, pool: Pool) -> None:
    if not pool.texts:
        raise ConfigError(
            f"negatives of the kind {kind!r} need texts from elsewhere",
            fix="give --unrelated FILE, one text per line",
        )


def _question_texts(kind: str, pool: Pool) -> None:
    fix = "give questions with a text of their own, or use negatives of another kind"
    empty = [question.id for question in pool.questions if not question.question.strip()]
    if empty:
        raise ConfigError(
            f"negatives of the kind {kind!r} need questions with a text: {_none(empty, pool)}",
            fix=fix,
        )
    distinct = len({question.question for question in pool.questions})
    if distinct < 2:
        raise ConfigError(
            f"negatives of the kind {kind!r} need two different question texts, found {distinct}",
            fix=fix,
        )


def _base_scores(kind: str, pool: Pool) -> None:
    without = [
        question.id
        for question in pool.questions
        if not _usable(pool.base_scores.get(question.id, ()), len(question.candidates))
    ]
    if without:
        raise ConfigError(
            f"negatives of the kind {kind!r} need a finite score of the base for every "
            f"candidate: {_none(without, pool)}",
            fix="score every training question with the base model first",
        )


def _usable(scores: Sequence[float], size: int) -> bool:
    return len(scores) == size and all(math.isfinite(score) for score in scores)


def _none(ids: Sequence[str], pool: Pool) -> str:
    return f"{len(ids)} of {len(pool.questions)} questions have none, first {ids[0]!r}"


_CHECKS: dict[Need, Callable[[str, Pool], None]] = {
    "wrong_candidates": _wrong_candidates,
    "texts": _texts,
    "question_texts": _question_texts,
    "base_scores": _base_scores,
}
