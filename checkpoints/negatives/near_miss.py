"""Wrong candidates of the same question: drawn evenly, or the first in listed order."""

import numpy as np

from critical_phase.checkpoints.negatives.kind import Choice, NegativeKind, Pool
from critical_phase.checkpoints.questions import Question


def _random(question: Question, pool: Pool, rng: np.random.Generator) -> Choice:
    """Choose a wrong candidate of the question, uniformly: what the paper's text says."""
    return Choice(question.wrong[int(rng.integers(len(question.wrong)))], "near_miss")


def _first(question: Question, pool: Pool, rng: np.random.Generator) -> Choice:
    """Choose the first wrong candidate: what the paper's released code does."""
    return Choice(question.wrong[0], "near_miss_first")


NEAR_MISS = NegativeKind("near_miss", frozenset({"wrong_candidates"}), _random)
NEAR_MISS_FIRST = NegativeKind("near_miss_first", frozenset({"wrong_candidates"}), _first)
