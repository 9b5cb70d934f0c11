"""Runs with a known truth, one generator for each planted world.

Sizes are small (150 questions, 33 checkpoints), so that hundreds can be analysed.
The planted place is drawn anew for every run, between .35 and .65 of the series.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inputs import Rows
from critical_phase.analysis.judging.causal_evidence import Plan
from critical_phase.analysis.planted.planted_arrays import rows_of
from critical_phase.analysis.planted.planted_causes import interventions_of
from critical_phase.analysis.planted.planted_scores import (
    EXACT,
    WALK,
    Tables,
    burst,
    grown,
    heads_of,
    logistic,
    middles,
    scored_again,
    switch_times,
    wander,
)
from critical_phase.analysis.planted.planted_states import (
    KEYS,
    attention_rows,
    states_of,
    walked_adapters,
)
from critical_phase.analysis.planted.planted_truth import Planted
from critical_phase.analysis.planted.worlds import PlantedRun

STEPS = 33
QUESTIONS = 150

MANY = 400
"""Questions of worlds whose answer rests on a half of them, or on two accuracies being equal:
with 150 the tool says that it cannot tell, in a third to two thirds of draws."""

WIDTH = 2.5
"""10-90 width of a planted switch, in steps: .08 of the series."""

RISE = 1.5
"""Planted rise of a margin, in nats."""

LAYERS = (-1, 0, 1)
INNER = (0, 1)
"""Layers that a planted vector reaches."""

LATE = (1,)
"""Layers that a planted new feature reaches."""

BLOCKS, ATTENTION_HEADS = (0, 1, 2), 4
ROUTED = (2, 0), (2, 2)
"""Block and attention head of those that are rerouted: two of twelve."""

AGAIN = "again"
"""Context with the same rows scored in other batches."""

BOTH = ("positive", "negative")
ONE = ("negative",)
TIME = np.arange(STEPS, dtype=np.float64)


def _place(rng: np.random.Generator) -> float:
    """Draw the place of a planted change, in steps."""
    return float(rng.uniform(0.35, 0.65) * (STEPS - 1))


def _run(
    rows: Rows,
    heads: tuple[str, ...],
    tables: Tables,
    rng: np.random.Generator,
    rates: Float[np.ndarray, " update"] | None = None,
    again: Tables | None = None,
) -> PlantedRun:
    """Make a run of scores, a second scoring, adapters and a training log."""
    rate = np.full(STEPS - 1, 1e-4) if rates is None else rates
    steps = np.arange(1, STEPS)
    more = {"key_length": np.full(rows.question.size, KEYS)}
    log = {
        "step": steps,
        "examples": 8 * steps,
        "lr": rate,
        "loss": 1 + 2 * np.exp(-steps / 10) + rng.normal(0, 0.02, steps.size),
        "gradient_norm": np.exp(-steps / 30 + rng.normal(0, 0.05, steps.size)),
    }
    return PlantedRun(
        rows,
        8,
        heads,
        (),
        (),
        0,
        np.arange(STEPS),
        tables | more | (scored_again(AGAIN, tables, rng) if again is None else again),
        weights={head: walked_adapters(rate, rng) for head in heads},
        rows_in={AGAIN: rows},
        logs={head: log for head in heads},
    )


def _margins(
    course: Float[np.ndarray, "step question"],
    rng: np.random.Generator,
    heads: tuple[str, ...],
    walk: float = WALK,
) -> PlantedRun:
    """Make a run whose margins follow a course, with the walk of training on top."""
    rows = rows_of(course.shape[1], 4, rng)
    height = max(float(np.ptp(course)), 0.5)
    moved = course + wander(height, STEPS, rng, walk)[:, None]
    return _run(rows, heads, heads_of(rows, moved, heads, rng), rng)


def _common(
    course: Float[np.ndarray, " step"],
    rng: np.random.Generator,
    heads: tuple[str, ...] = BOTH,
    questions: int = QUESTIONS,
    walk: float = WALK,
) -> PlantedRun:
    """Make a run whose margins share one course."""
    return _margins(np.tile(course[:, None], questions), rng, heads, walk)


def _smooth(course: Float[np.ndarray, " step"], rng: np.random.Generator) -> Planted:
    return Planted(_common(course, rng), None)


def switch(rng: np.random.Generator, *, place: float | None = None) -> Planted:
    """All margins switch together, where asked for, and nothing else is stored."""
    tau = _place(rng) if place is None else place
    course = RISE * (logistic(TIME, tau, WIDTH) - 0.5)
    return Planted(_common(course, rng, questions=MANY), tau, tau)


def noisy_switch(rng: np.random.Generator) -> Planted:
    """A slower switch under a strong walk of training."""
    tau = _place(rng)
    return Planted(_common(RISE * (logistic(TIME, tau, 2 * WIDTH) - 0.5), rng, walk=0.03), tau, tau)


def mirage(rng: np.random.Generator) -> Planted:
    """Margins drift linearly, far enough for accuracy to be steep."""
    return Planted(_common(5.0 * (TIME / TIME[-1] - 0.5), rng, questions=MANY), None)


def flat(rng: np.random.Generator) -> Planted:
    """Nothing changes but the walk of training."""
    return _smooth(0 * TIME, rng)


def ramp(rng: np.random.Generator) -> Planted:
    """Margins drift linearly and little."""
    return _smooth(1.0 * (TIME / TIME[-1] - 0.5), rng)


def random_walk(rng: np.random.Generator) -> Planted:
    """Margins share a random walk."""
    return _smooth(wander(RISE, STEPS, rng, share=0.06), rng)


def sigmoid(rng: np.random.Generator) -> Planted:
    """Margins follow a sigmoid over .6 of the series."""
    middle, width = TIME[-1] / 2, 0.6 * TIME[-1]
    return _smooth(RISE * (logistic(TIME, middle, width) - 0.5), rng)


def _heterogeneous(rng: np.random.Generator, *, by_topic: bool) -> PlantedRun:
    """Make a run whose questions switch one by one, or topic by topic."""
    questions = 150
    topics = tuple(f"topic {i % 3}" for i in range(questions))
    times = switch_times(topics, STEPS, rng, by_topic=by_topic)
    courses = np.stack([logistic(TIME, at, 1.5) - 0.5 for at in times], axis=1)
    run = _margins(3.0 * courses, rng, BOTH)
    rows = replace(run.rows, groups=topics)
    return replace(run, rows=rows, rows_in={AGAIN: rows})


def many(rng: np.random.Generator) -> Planted:
    """Every question switches at its own time."""
    return Planted(_heterogeneous(rng, by_topic=False), None)


def topics(rng: np.random.Generator) -> Planted:
    """Three topics switch at three times."""
    return Planted(_heterogeneous(rng, by_topic=True), None)


def schedule(rng: np.random.Generator) -> Planted:
    """Progress is linear in the summed learning rate, which bursts."""
    at = int(rng.integers(round(0.35 * STEPS), round(0.65 * STEPS)))
    rates, done = burst(STEPS, at, length=3, times=30.0)
    rows = rows_of(QUESTIONS, 4, rng)
    course = RISE * (done - 0.5) + wander(RISE, STEPS, rng)
    tables = heads_of(rows, np.tile(course[:, None], QUESTIONS), BOTH, rng)
    return Planted(_run(rows, BOTH, tables, rng, rates), at + 0.5, at + 0.5)


HALF = 0.5
"""Weight of the negative head below 1, so that the size of its change counts."""

NOISE = 0.02
"""Noise of one score in the noise-floor world, in nats."""

FINE = "again-float32"
"""Context with the rows scored without that noise."""


def noise_floor(rng: np.random.Generator) -> Planted:
    """One direction from the start outgrows the noise of scoring."""
    rows, tau = rows_of(QUESTIONS, 4, rng), _place(rng)
    scale = NOISE * 10 ** (4 * logistic(TIME, tau, 2 * WIDTH) - 2)
    exact, noisy = grown(rows, scale, rng, noise=NOISE)
    again = scored_again(AGAIN, exact, rng, NOISE) | scored_again(FINE, exact, rng)
    run = _run(rows, ONE, noisy, rng, again=again)
    places = middles(scale, rng, noise=NOISE, weight=1.0, base_spread=0.0, base_gain=0.0)
    return Planted(replace(run, rows_in={AGAIN: rows, FINE: rows}), *places)


def _scaled(
    scale: Float[np.ndarray, " step"], rng: np.random.Generator, questions: int = QUESTIONS
) -> PlantedRun:
    """Make a run whose negative head moves along one direction, over an opinionated base."""
    rows = rows_of(questions, 4, rng)
    _, tables = grown(rows, scale, rng, noise=EXACT, turning=0.1, **OPINIONATED)
    return _run(rows, ONE, tables, rng)


OPINIONATED = {"base_spread": 3.0, "base_gain": 1.0}
"""A base that is right in .34 of questions and outweighs a small change."""


def scale(rng: np.random.Generator) -> Planted:
    """One direction from the start switches its size, at half weight."""
    tau = _place(rng)
    size = 0.1 + 2.4 * logistic(TIME, tau, WIDTH)
    run = _scaled(size * (1 + wander(1.0, STEPS, rng)), rng, MANY)
    return Planted(run, *middles(size, rng, noise=EXACT, weight=HALF, **OPINIONATED))


def scale_and_mirage(rng: np.random.Generator) -> Planted:
    """One direction from the start grows linearly, at half weight."""
    return Planted(_scaled(0.02 + 3.0 * TIME / TIME[-1] * (1 + wander(1.0, STEPS, rng)), rng), None)


def _with_states(
    rng: np.random.Generator,
    label: Mapping[int, tuple[float, float]],
    shift: Mapping[int, tuple[float, float]],
    causes: Mapping[Plan, float],
    questions: int = QUESTIONS,
) -> Planted:
    """Make a run of one head whose margin switches beside its hidden states.

    Args:
        rng: Source of all randomness.
        label: Layer to strength of the label direction before and after the switch.
        shift: The same for a constant vector.
        causes: Share of the margin's change that each intervention brings or takes.
        questions: Of them a half chooses the layer and a half decides.
    """
    tau = _place(rng)
    gain = logistic(TIME, tau, WIDTH)
    run = _common(RISE * (gain - 0.5), rng, ONE, questions)
    courses = [
        {layer: low + (high - low) * gain for layer, (low, high) in given.items()}
        for given in (label, shift)
    ]
    states = states_of(run.rows, LAYERS, 24, STEPS, rng, label=courses[0], shift=courses[1])
    tables = {f"residual/negative/{layer}": path for layer, path in states.items()}
    run = replace(
        run,
        layers=LAYERS,
        positions=("answer_end",),
        tables=run.tables | tables,
        interventions=interventions_of(causes, rng),
    )
    return Planted(run, tau, tau)


def constant_vector(rng: np.random.Generator) -> Planted:
    """One vector is added to all states of the inner layers."""
    return _with_states(rng, {}, dict.fromkeys(INNER, (0.0, 5.0)), {"constant_vector": 1.0})


def new_feature(rng: np.random.Generator) -> Planted:
    """A label direction appears in the late layers."""
    return _with_states(rng, dict.fromkeys(LATE, (0.0, 3.5)), {}, {"prefix_graft": 1.0})


def readout(rng: np.random.Generator) -> Planted:
    """A label direction is there from the start; only the scores switch."""
    label = dict.fromkeys(INNER, (2.0, 2.0))
    return _with_states(rng, label, {}, {"erase_direction": 1.0}, MANY)


def vector_and_readout(rng: np.random.Generator) -> Planted:
    """A vector opens the reading of an old feature, so that both are needed."""
    return _with_states(
        rng,
        dict.fromkeys(INNER, (2.0, 2.0)),
        dict.fromkeys(INNER, (0.0, 5.0)),
        {"constant_vector": 1.0, "erase_direction": 1.0},
    )


def rerouting(rng: np.random.Generator) -> Planted:
    """Two attention heads of the last block move to another key."""
    tau = _place(rng)
    gain = logistic(TIME, tau, WIDTH)
    run = _common(RISE * (gain - 0.5), rng, ONE)
    moved = {b: {h: 4 * (gain - gain[0]) for at, h in ROUTED if at == b} for b in BLOCKS}
    tables = {
        f"attention/negative/{block}": attention_rows(
            run.rows, ATTENTION_HEADS, STEPS, rng, moved=moved[block]
        )
        for block in BLOCKS
    }
    run = replace(
        run,
        layers=BLOCKS,
        attention_heads=ATTENTION_HEADS,
        tables=run.tables | tables,
        interventions=interventions_of({"pattern_graft": 1.0, "frozen_attention": 1.0}, rng),
    )
    return Planted(run, tau, tau)
