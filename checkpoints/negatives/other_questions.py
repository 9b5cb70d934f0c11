"""Draw another question that fits, evenly among all that do."""

from collections.abc import Callable, Sequence

import numpy as np

from critical_phase.checkpoints.questions import Question

_TRIES = 1000


def draw_other(
    questions: Sequence[Question], fits: Callable[[Question], bool], rng: np.random.Generator
) -> Question | None:
    """Draw one of the questions that fit; None where no question does.

    Trying at random is even among those that fit and costs the same for a set of any size;
    the whole set is searched only where next to nothing fits.
    """
    for _ in range(_TRIES):
        other = questions[int(rng.integers(len(questions)))]
        if fits(other):
            return other
    fitting = [other for other in questions if fits(other)]
    return fitting[int(rng.integers(len(fitting)))] if fitting else None
