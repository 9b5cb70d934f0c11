"""A text that has nothing to do with the questions."""

import numpy as np

from critical_phase.checkpoints.negatives.kind import Choice, NegativeKind, Pool
from critical_phase.checkpoints.questions import Question


def _choose(question: Question, pool: Pool, rng: np.random.Generator) -> Choice:
    return Choice(pool.texts[int(rng.integers(len(pool.texts)))], "unrelated")


UNRELATED = NegativeKind("unrelated", frozenset({"texts"}), _choose)
