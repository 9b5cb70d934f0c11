"""Which two candidates decide the margin of each question, from the scores of all rows."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.errors import ConfigError
from critical_phase.probes.plan import Plan


@dataclass(frozen=True, eq=False)
class Margins:
    """Margin of each row's question: log-likelihood of the right candidate minus the best wrong."""

    sign: Int[np.ndarray, " row"]
    """1 for the right candidate, -1 for the best wrong one, 0 for the others."""
    value: Float[np.ndarray, " row"]
    """The question's margin in nats, the same for all its rows."""
    tied: Int[np.ndarray, " row"]
    """Wrong candidates that share the best score; of several the first in order is taken."""


def margins(plan: Plan, logprob_sum: Float[np.ndarray, " row"]) -> Margins:
    """Find the best wrong candidate of each question by summed log-likelihood.

    Args:
        plan: The rows; those of one question are neighbours.
        logprob_sum: Score of every row, in nats.

    Raises:
        ConfigError: A question has no wrong candidate, or no right one.
    """
    starts = np.array([rows[0] for rows in plan.rows_of])
    question, wrong = plan.question, ~plan.correct
    _check(plan, np.add.reduceat(wrong.astype(int), starts))
    best = np.maximum.reduceat(np.where(wrong, logprob_sum, -np.inf), starts)
    top = wrong & (logprob_sum == best[question])
    numbers = np.arange(plan.rows)
    chosen = np.minimum.reduceat(np.where(top, numbers, plan.rows), starts)
    right = np.maximum.reduceat(np.where(plan.correct, logprob_sum, -np.inf), starts)
    return Margins(
        (plan.correct.astype(np.int32) - (numbers == chosen[question])).astype(np.int32),
        (right - best)[question].astype(np.float32),
        np.add.reduceat(top.astype(np.int32), starts)[question],
    )


def _check(plan: Plan, wrong: np.ndarray) -> None:
    sizes = np.array([len(rows) for rows in plan.rows_of])
    odd = (wrong == 0) | (wrong == sizes)
    if odd.any():
        name = plan.question_ids[int(odd.argmax())]
        raise ConfigError(
            f"question {name!r} has no margin: it needs a right and a wrong candidate",
            fix="leave the question out, or collect without margin_gradient",
        )
