"""Score the rows of a plan once, without storing anything."""

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

from critical_phase.probes.instrument import prepare
from critical_phase.probes.plan import Plan
from critical_phase.probes.scoring import Scores
from critical_phase.probes.settings import CollectSettings


def score(
    model: Any,
    plan: Plan,
    *,
    batch_tokens: int = 4096,
    layout: Literal["auto", "packed", "cached", "naive"] = "auto",
) -> Scores:
    """Compute the log-likelihood of every row under the model as it is.

    Args:
        model: The causal language model, with whatever adapter it holds.
        plan: The rows.
        batch_tokens: Most slots of one forward pass, padding included.
        layout: `packed` runs each question with all its candidates in one line, `cached`
            runs the question first and the candidates from its cache, `naive` runs every
            row on its own. auto takes the first of them that gives the scores of single
            rows on the longest and the shortest question.

    Returns:
        Scores of every row, with the layout that was used and why.

    Raises:
        ConfigError: A row does not fit the model, or the layout asked for is not exact.
        CheckpointError: The model gave values that are not finite.
    """
    settings = CollectSettings(collectors=(), batch_tokens=batch_tokens, layout=layout)
    with _evaluating(model):
        return prepare(model, plan, settings).measure()


@contextlib.contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Switch dropout off for the length of a block."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
