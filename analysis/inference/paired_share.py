"""The difference of two shares on the same questions, with an interval that never closes up.

Resampling questions on which nothing differs gives no difference again. Agresti and Min add half
a question to each way in which a pair of answers can come out (both right, both wrong, only one,
only the other) and take the normal interval; joined with the question bootstrap, neither end lies
inside what one of the two allows.

Reference: Agresti and Min (2005), Stat. Med. 24, 729, section 4.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inference.bootstrap import interval
from critical_phase.analysis.inference.proportion import Z
from critical_phase.errors import ShapeError

PAIRED = "95 % question bootstrap joined with Agresti and Min's paired interval"
"""Name of the interval."""
_ADDED = 2.0
"""Questions that are added: a half for each of four outcomes, of which two differ."""


@dataclass(frozen=True, slots=True)
class PairedShare:
    """One share minus another, over the same questions."""

    value: float
    """From -1 to 1."""
    interval: tuple[float, float]
    """95 %; see `PAIRED`."""
    gained: int
    """Questions on which the first is right more often than the second."""
    lost: int
    """Questions on which it is right less often."""
    questions: int
    """Questions in all."""


def paired_share(
    one: Float[np.ndarray, " question"],
    other: Float[np.ndarray, " question"],
    weights: Float[np.ndarray, "draw question"],
) -> PairedShare:
    """Compare how often two ways of answering are right on the same questions.

    Args:
        one: Share of its answers that are right, 0 to 1, by question.
        other: The same of what it is held against.
        weights: Question resamples, each summing to 1.

    Raises:
        ShapeError: There is no question.
    """
    if not one.size:
        raise ShapeError("asked to compare shares on no question")
    gap = one - other
    low, high = interval(weights @ gap)
    size = gap.size + _ADDED
    middle = gap.sum() / size
    spread = np.sqrt(((gap**2).sum() + 1.0) / size - middle**2) / np.sqrt(size)
    least, most = middle - Z * spread, middle + Z * spread
    return PairedShare(
        value=float(gap.mean()),
        interval=(max(-1.0, min(float(low), least)), min(1.0, max(float(high), most))),
        gained=int((gap > 0).sum()),
        lost=int((gap < 0).sum()),
        questions=int(gap.size),
    )
