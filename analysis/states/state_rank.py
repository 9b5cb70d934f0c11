"""Measure `state_rank`: over how many directions the states of different questions spread."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.charts import numbers
from critical_phase.analysis.inputs import RunArrays, question_count
from critical_phase.analysis.results import Curve, MeasureResult
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.states.activations import sorted_steps

ABOUT = (
    "Participation ratio of the covariance of the last layer's states at the end of the question,"
    " one state per question: the number of directions over which questions differ. It is capped"
    " by the number of questions, so only values of equally many questions compare. Fewer"
    " directions are not better or worse."
)

POSITION = "question_end"
"""Where states are read: the last token before the answer, the same for all candidates."""

MOST_STEPS = 17
"""Checkpoints that are looked at, evenly over those stored."""

BLOCKS = 20
"""Groups of questions that are left out in turn for the interval."""

INTERVAL = "95 % jackknife over 20 blocks of questions"


def state_rank(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Follow the participation ratio of the covariance of states over questions.

    Args:
        arrays: The run.
        settings: Not needed here.
        done: Results of earlier measures; not needed here.

    Returns:
        One curve per head.
    """
    about = ("state_rank", "Directions of the states", ABOUT, "docs/methods.md")
    questions = question_count(arrays.rows)
    if POSITION not in arrays.positions or not arrays.layers or questions < 2 * BLOCKS:
        note = (
            f"needs states at {POSITION} of at least {2 * BLOCKS} questions: not computed; probe"
            " collect with residual stores them"
        )
        return MeasureResult(*about, {}, (note,))
    curves = []
    for head in arrays.heads:
        _, steps = sorted_steps(arrays, head)
        at = np.unique(np.linspace(0, steps.size - 1, min(MOST_STEPS, steps.size)).round())
        curves.append(_curve(arrays, head, steps[at.astype(int)]))
    layer = max(arrays.layers)
    return MeasureResult(
        *about, {"layer": layer, "position": POSITION, "blocks": BLOCKS}, (), tuple(curves)
    )


def participation_jackknife(
    states: Float[np.ndarray, "question d"], blocks: int
) -> tuple[float, float]:
    """Return the participation ratio of the covariance of states and its standard error.

    (tr C)^2 / tr C^2 from the Gram matrix of the questions; the error is the jackknife over
    consecutive blocks of questions. NaN where all states are equal.
    """
    gram = np.asarray(states, dtype=np.float64) @ np.asarray(states, dtype=np.float64).T
    count = gram.shape[0]
    whole = _participation(gram)
    parts = []
    for block in np.array_split(np.arange(count), blocks):
        keep = np.setdiff1d(np.arange(count), block, assume_unique=True)
        parts.append(_participation(gram[np.ix_(keep, keep)]))
    left = np.array(parts)
    error = np.sqrt((blocks - 1) / blocks * ((left - left.mean()) ** 2).sum())
    return whole, float(error)


def _participation(gram: Float[np.ndarray, "row row"]) -> float:
    """Return (sum v)^2 / sum v^2 of the eigenvalues of a Gram matrix after centring its rows."""
    mean = gram.mean(axis=0)
    centred = gram - mean[None] - mean[:, None] + mean.mean()
    trace, energy = float(np.trace(centred)), float((centred**2).sum())
    floor = 1e-10 * float(np.trace(gram))
    return trace**2 / energy if trace > floor else float("nan")


def _curve(arrays: RunArrays, head: str, steps: Int[np.ndarray, " step"]) -> Curve:
    """Draw the number of directions of one head."""
    starts = np.searchsorted(arrays.rows.question, np.arange(question_count(arrays.rows)))
    layer = max(arrays.layers)
    found = []
    for step in steps:
        states = arrays.residual_at(head, int(step), layer, POSITION)[starts]
        found.append(participation_jackknife(states, BLOCKS))
    count, width = states.shape
    value, error = np.array(found).T
    at = [int(s) for s in steps]
    return Curve(
        f"state_rank.{head}",
        f"Directions of the states at the end of the question, {head} head",
        "directions",
        "state_rank",
        head,
        at,
        [s * arrays.batch_size for s in at],
        numbers(value),
        f"Participation ratio of the covariance over questions, last layer ({layer}); the level"
        " line is an even cloud in all dimensions, seen through as many questions.",
        count,
        head,
        low=numbers(value - 1.96 * error),
        high=numbers(value + 1.96 * error),
        interval=INTERVAL,
        references=[
            {"label": "even in all dimensions", "value": (count - 1) * width / (count - 1 + width)}
        ],
    )
