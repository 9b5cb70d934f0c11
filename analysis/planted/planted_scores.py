"""Scores of planted worlds: the course of every margin is known before any score is drawn."""

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inputs import Rows

SPREAD = 0.5
"""Standard deviation of the constant part of a combined score, in nats."""

OWN = 0.1
"""Standard deviation of what a combined score does at one checkpoint only, in nats."""

WALK = 0.01
"""Increment of the walk common to all right answers, as a share of the planted rise."""

EXACT = 1e-5
"""Standard deviation of the noise of computing one score where it is not planted, in nats."""

Tables = dict[str, np.ndarray]


def logistic(
    time: Float[np.ndarray, " step"], tau: float, width: float
) -> Float[np.ndarray, " step"]:
    """Return a rise from 0 to 1 around tau whose 10-90 width is given in steps."""
    return np.asarray(0.5 * (1 + np.tanh((time - tau) * np.log(9.0) / width)))


def wander(
    height: float, steps: int, rng: np.random.Generator, share: float = WALK
) -> Float[np.ndarray, " step"]:
    """Return the walk of training that all right answers share."""
    return np.asarray(np.cumsum(rng.normal(0, share * height, steps)))


def heads_of(
    rows: Rows,
    course: Float[np.ndarray, "step question"],
    heads: tuple[str, ...],
    rng: np.random.Generator,
    *,
    spread: float = SPREAD,
) -> Tables:
    """Draw base and heads so that right answers rise by the given course.

    The combined score of likra (of base_likra without a positive head) is a constant taste
    of every candidate, plus the course on right answers, plus noise of single checkpoints.
    The taste is moved so that half of the questions are right where their course is zero.

    Args:
        rows: The candidates.
        course: What is added to the score of each question's right answer.
        heads: `positive` and `negative`, or `negative` alone.
        rng: Source of all randomness.
        spread: Standard deviation of the taste.

    Returns:
        `scores/base` and one table per head; step 0 is the base itself.
    """
    size, steps = rows.question.size, len(course)
    base = rng.normal(-20, 0.5, size) + 0.3 * rows.correct
    combined = (
        _balanced(rows, rng.normal(0, spread, size)) + rows.correct * course[:, rows.question]
    )
    combined = combined + rng.normal(0, OWN, (steps, size))
    positive = base + rng.normal(0, 0.02, size) + rng.normal(0, 0.02, (steps, size))
    above = positive if "positive" in heads else base
    tables = {"scores/base": base, "scores/positive": positive, "scores/negative": above - combined}
    for head in heads:
        tables[f"scores/{head}"][0] = base
    return {name: table for name, table in tables.items() if name.split("/")[1] in ("base", *heads)}


def _balanced(rows: Rows, taste: Float[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
    """Move right answers by one constant so that the median margin is zero."""
    count = rows.question[-1] + 1
    best = np.full(count, -np.inf)
    np.maximum.at(best, rows.question, np.where(rows.correct, -np.inf, taste))
    return np.asarray(taste - rows.correct * np.median(taste[rows.correct] - best))


def grown(
    rows: Rows,
    scale: Float[np.ndarray, " step"],
    rng: np.random.Generator,
    *,
    noise: float,
    turning: float = 0.0,
    base_spread: float = 0.5,
    base_gain: float = 0.3,
) -> tuple[Tables, Tables]:
    """Draw a negative head that moves along one direction, growing, and a second scoring.

    The direction is standard normal plus 1.6 on the right answer: alone it is right in .729
    of questions with four candidates, at every scale.

    Args:
        rows: The candidates.
        scale: How far the head has moved along the direction.
        rng: Source of all randomness.
        noise: Standard deviation of the noise of every scoring, fresh each time.
        turning: Standard deviation by which the direction differs at every checkpoint.
        base_spread: Standard deviation of the base's scores.
        base_gain: What the base adds to right answers.

    Returns:
        Scores without the noise, and with it.
    """
    size = rows.question.size
    base = rng.normal(-20, base_spread, size) + base_gain * rows.correct
    direction = rng.normal(0, 1, size) + 1.6 * rows.correct
    here = direction + rng.normal(0, turning, (scale.size, size))
    moved = base - scale[:, None] * here
    exact = {"scores/base": base, "scores/negative": moved}
    noisy = {name: table + rng.normal(0, noise, table.shape) for name, table in exact.items()}
    noisy["scores/negative"][0] = noisy["scores/base"]
    return exact, noisy


def middles(
    scale: Float[np.ndarray, " step"],
    rng: np.random.Generator,
    *,
    noise: float,
    weight: float,
    base_spread: float,
    base_gain: float,
) -> tuple[float, float]:
    """Return where accuracy and margin of `grown` are half way, on average over questions.

    Neither is linear in the scale, so their middles are not that of the scale.

    Args:
        scale: As for `grown`, one per step.
        rng: Source of all randomness.
        noise: Noise of one score.
        weight: Weight of the negative head.
        base_spread: Standard deviation of the base's scores.
        base_gain: What the base adds to right answers.

    Returns:
        Middles in steps, from 4000 questions of four candidates, the first one right.
    """
    shape = (4000, 4)
    right = np.array([1.0, 0.0, 0.0, 0.0])
    base = (1 - weight) * (rng.normal(0, base_spread, shape) + base_gain * right)
    direction = weight * (rng.normal(0, 1, shape) + 1.6 * right)
    jitter = rng.normal(0, noise, shape) + weight * rng.normal(0, noise, shape)
    found = []
    steps = np.arange(1, scale.size)
    margins = [base + size * direction + jitter for size in scale[1:]]
    for measure in (lambda m: (m > 0).mean(), np.mean):
        course = np.array([measure(m[:, 0] - m[:, 1:].max(axis=1)) for m in margins])
        level = (course[0] + course[-1]) / 2
        found.append(float(np.interp(level, np.maximum.accumulate(course), steps)))
    return found[0], found[1]


def scored_again(
    context: str, tables: Tables, rng: np.random.Generator, noise: float = EXACT
) -> Tables:
    """Score the same rows once more, with fresh noise everywhere."""
    prefix = "scores/"
    return {
        f"context/{context}/{name.removeprefix(prefix)}": table + rng.normal(0, noise, table.shape)
        for name, table in tables.items()
        if name.startswith(prefix)
    }


def switch_times(
    groups: tuple[str, ...], steps: int, rng: np.random.Generator, *, by_topic: bool
) -> Float[np.ndarray, " question"]:
    """Draw when each question switches: broadly, or at one time for each topic."""
    last = steps - 1
    if not by_topic:
        return np.asarray(np.clip(rng.normal(last / 2, 0.19 * last, len(groups)), 2.0, last - 2.0))
    topics = sorted(set(groups))
    middle = dict(zip(topics, np.linspace(0.2, 0.8, len(topics)) * last, strict=True))
    return np.array([middle[topic] + rng.normal(0, 0.5) for topic in groups])


def burst(
    steps: int, at: int, *, length: int, times: float
) -> tuple[Float[np.ndarray, " update"], Float[np.ndarray, " step"]]:
    """Return a learning rate that is high for a few updates, and the summed rate, 0 to 1.

    Args:
        steps: Checkpoints, step 0 included: one update less.
        at: First update of the burst, counted from 1.
        length: Updates in the burst.
        times: How many times higher the rate is there.
    """
    update: Int[np.ndarray, " update"] = np.arange(1, steps)
    rate = np.where((update >= at) & (update < at + length), times, 1.0) * 1e-4
    total = np.concatenate(([0.0], np.cumsum(rate)))
    return np.asarray(rate), np.asarray(total / total[-1])
