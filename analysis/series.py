"""One quantity over the checkpoints of a head, question by question where it has questions."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, slots=True)
class Series:
    """A quantity over steps, with its value for every question where it is a mean of them."""

    quantity: str
    """Id such as `margin.likra` or `displacement.negative`."""
    title: str
    """The quantity in words."""
    unit: str
    """Unit of the values."""
    kind: str
    """`accuracy`, `margin`, `representation` or `weights`."""
    steps: Int[np.ndarray, " step"]
    """Optimizer steps, increasing."""
    value: Float[np.ndarray, " step"]
    """The quantity itself."""
    per_question: Float[np.ndarray, "step question"] | None = None
    """Values (or jackknife pseudo-values) whose mean is the quantity; None without questions."""
    head: str | None = None
    """Trained head, None where heads are combined."""
    mode: str | None = None
    """How heads were combined, None otherwise."""
    layer: int | None = None
    """Transformer block, -1 for the embedding."""
    attention_head: int | None = None
    """Attention head."""


def question_series(
    quantity: str,
    title: str,
    unit: str,
    kind: str,
    steps: Int[np.ndarray, " step"],
    per_question: Float[np.ndarray, "step question"],
    *,
    head: str | None = None,
    mode: str | None = None,
    layer: int | None = None,
    attention_head: int | None = None,
) -> Series:
    """Make a series from per-question values; steps that are undefined are left out."""
    keep = np.isfinite(per_question).all(axis=1)
    values = np.asarray(per_question[keep], dtype=np.float64)
    return Series(
        quantity,
        title,
        unit,
        kind,
        steps[keep],
        values.mean(axis=1),
        values,
        head=head,
        mode=mode,
        layer=layer,
        attention_head=attention_head,
    )


def spread_evenly(series: Series) -> Series:
    """Divide by the standard deviation over questions, step by step.

    The sign of a margin does not know its size: margins that have grown a hundredfold wander a
    hundredfold further and cross zero no more often. Steps without spread become 0.
    """
    assert series.per_question is not None
    spread = series.per_question.std(axis=1, keepdims=True)
    values = np.divide(
        series.per_question, spread, out=np.zeros_like(series.per_question), where=spread > 0
    )
    return replace(series, value=values.mean(axis=1), per_question=values)
