"""Displacement in the metric of the unembedding: how far the logits that a state gives moved.

Every state is read as if it were the last (logit lens): after the model's own final norm, in the
covariance of the unembedding over the vocabulary. At the last layer these are the model's own
logits; further up, what layers between would do with the change is left out.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inputs import Rows, RunArrays, question_count
from critical_phase.analysis.states.activations import POSITION, sorted_steps, spread_steps
from critical_phase.analysis.states.path_share import random_change
from critical_phase.analysis.states.read_out import ReadOut
from critical_phase.errors import FitError

MOST_STEPS = 9
"""Checkpoints per layer."""


@dataclass(frozen=True, slots=True)
class ReadOutPath:
    """One layer of one head at one position."""

    head: str
    layer: int
    position: str
    steps: Int[np.ndarray, " step"]
    moved: Float[np.ndarray, "step question"]
    """Spread of the change of the logits, over that of the base's logits."""
    over_random: Float[np.ndarray, "step question"]
    """Pseudo-values of the spread over that of changes of equal norm in random directions."""
    over_states: Float[np.ndarray, "step question"]
    """The same for changes of equal norm towards the base state of another question."""
    spread: Float[np.ndarray, " question"]
    """Spread of the change of the logits at the last step, in nats."""


def read_out_path(
    arrays: RunArrays, read_out: ReadOut, head: str, layer: int, position: str, seed: int
) -> ReadOutPath:
    """Walk one layer through evenly spread checkpoints.

    Args:
        arrays: The run.
        read_out: Final norm and unembedding of the base model, used at every checkpoint.
        head: Trained head.
        layer: Residual layer.
        position: `question_end` (the first token of the answer is read there) or `answer_end`.
        seed: Start of the random directions.

    Raises:
        FitError: States are not all numbers.
    """
    _, every = sorted_steps(arrays, head)
    steps = spread_steps(every[every > 0], MOST_STEPS)
    taken, question = rows_read(arrays.rows, position)
    base = _numbers(arrays.base_residual(layer, position)[taken], "base", layer, 0)
    origin = read_out.normalised(base)
    size = read_out.spread(origin)
    shape = (steps.size, question_count(arrays.rows))
    moved, random, states = (np.full(shape, np.nan) for _ in range(3))
    spread = np.full(shape[1], np.nan)
    for t, step in enumerate(steps):
        found = arrays.residual_at(head, int(step), layer, position)
        change = _numbers(found[taken], head, layer, int(step)) - base
        rng = np.random.default_rng([seed, 33, t])
        turned = (random_change(change, rng), _towards_others(question, base, change))
        own, *others = (
            _means(question, read_out.spread(read_out.normalised(base + one) - origin))
            for one in (change, *turned)
        )
        moved[t] = own / _means(question, size)
        random[t], states[t] = (ratio_of_means(own, other) for other in others)
        spread = own
    return ReadOutPath(head, layer, position, steps, moved, random, states, spread)


def ratio_of_means(
    above: Float[np.ndarray, " question"], below: Float[np.ndarray, " question"]
) -> Float[np.ndarray, " question"]:
    """Return jackknife pseudo-values of mean(above) / mean(below); NaN without any."""
    count, top, bottom = above.size, above.sum(), below.sum()
    if not bottom > 0 or count < 2:
        return np.full(count, np.nan)
    whole = top / bottom
    without = (top - above) / (bottom - below)
    return np.asarray(count * whole - (count - 1) * without)


def rows_read(
    rows: Rows, position: str
) -> tuple[Int[np.ndarray, " read"], Int[np.ndarray, " read"]]:
    """Return the rows to read and their questions: before the answer one of a question is all."""
    if position == POSITION:
        return np.arange(rows.question.size), rows.question
    count = question_count(rows)
    return np.searchsorted(rows.question, np.arange(count)), np.arange(count)


def _means(
    question: Int[np.ndarray, " read"], values: Float[np.ndarray, " read"]
) -> Float[np.ndarray, " question"]:
    """Average the rows of each question."""
    return np.asarray(np.bincount(question, values) / np.bincount(question))


def _towards_others(
    question: Int[np.ndarray, " read"],
    base: Float[np.ndarray, "read d"],
    change: Float[np.ndarray, "read d"],
) -> Float[np.ndarray, "read d"]:
    """Turn every change towards the base state of the first row of the next question."""
    first = np.searchsorted(question, (question + 1) % (int(question[-1]) + 1))
    way = base[first] - base
    length = np.linalg.norm(way, axis=1, keepdims=True)
    size = np.linalg.norm(change, axis=1, keepdims=True)
    return np.asarray(way * np.divide(size, length, out=np.zeros_like(size), where=length > 0))


def _numbers(
    values: Float[np.ndarray, "row d"], head: str, layer: int, step: int
) -> Float[np.ndarray, "row d"]:
    """Return states in float64; refuse what is not finite."""
    if not np.isfinite(values).all():
        raise FitError(
            f"hidden states of head {head}, layer {layer} at step {step} are not all numbers",
            where=f"activations/{head}",
            fix="collect this checkpoint again, in float32",
        )
    return np.asarray(values, dtype=np.float64)
