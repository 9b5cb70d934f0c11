"""The right candidate: what the positive head learns, and a control for the negative one.

A negative head trained on right answers shows what fine-tuning on answers of this
form does by itself, with no wrong answer in sight.
"""

import numpy as np

from critical_phase.checkpoints.negatives.kind import Choice, NegativeKind, Pool
from critical_phase.checkpoints.questions import Question


def _choose(question: Question, pool: Pool, rng: np.random.Generator) -> Choice:
    return Choice(question.right, "right_answers")


RIGHT_ANSWERS = NegativeKind("right_answers", frozenset(), _choose)
