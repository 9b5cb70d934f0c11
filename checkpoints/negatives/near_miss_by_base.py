"""The wrong candidate that the base finds most or least likely.

Likelihood is the sum over answer tokens, so `hardest` leans to short answers and
`easiest` to long ones; compare lengths before reading a difference as difficulty.
"""

from collections.abc import Callable, Iterable

import numpy as np

from critical_phase.checkpoints.negatives.kind import Choice, Choose, Need, NegativeKind, Pool
from critical_phase.checkpoints.questions import Question


def _chooser(name: str, best: Callable[[Iterable[float]], float]) -> Choose:
    def choose(question: Question, pool: Pool, rng: np.random.Generator) -> Choice:
        scores = pool.base_scores[question.id]
        wrong = [index for index in range(len(question.candidates)) if index != question.answer]
        target = best([scores[index] for index in wrong])
        tied = [index for index in wrong if scores[index] == target]
        chosen = tied[int(rng.integers(len(tied)))] if tied[1:] else tied[0]
        return Choice(question.candidates[chosen], name)

    return choose


_NEEDS: frozenset[Need] = frozenset({"wrong_candidates", "base_scores"})
NEAR_MISS_HARDEST = NegativeKind("near_miss_hardest", _NEEDS, _chooser("near_miss_hardest", max))
NEAR_MISS_EASIEST = NegativeKind("near_miss_easiest", _NEEDS, _chooser("near_miss_easiest", min))
