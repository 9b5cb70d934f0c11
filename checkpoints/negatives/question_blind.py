"""A wrong answer after no question: what can be learnt from the answers alone.

Mandatory where wrong answers are machine-written: their style gives them away
(arXiv 2504.07825 on HellaSwag).
"""

import numpy as np

from critical_phase.checkpoints.negatives.kind import NO_QUESTION, Choice, NegativeKind, Pool
from critical_phase.checkpoints.questions import Question


def _choose(question: Question, pool: Pool, rng: np.random.Generator) -> Choice:
    answer = question.wrong[int(rng.integers(len(question.wrong)))]
    return Choice(answer, "question_blind", NO_QUESTION)


QUESTION_BLIND = NegativeKind("question_blind", frozenset({"wrong_candidates"}), _choose)
