"""Control runs of a planted run: how much of its gain they reach is known."""

from dataclasses import replace
from typing import get_args

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.planted.planted_runs import STEPS, switch
from critical_phase.analysis.planted.planted_scores import OWN
from critical_phase.analysis.planted.planted_truth import Planted
from critical_phase.analysis.planted.worlds import PlantedRun
from critical_phase.analysis.scores.control_run import ControlKind, ControlRun, SummedRate

SLOWER = 4
"""Factor by which the learning rate of a planted slow control is lower."""

SPIKE = 6.0
"""How many times larger the gradient norm is at a planted spike."""

STEEP = 3.0
"""How much more an answer's likelihood without its question varies than the head's change."""


def control_of(
    run: PlantedRun,
    kind: ControlKind,
    share: float,
    rng: np.random.Generator,
    *,
    name: str = "",
) -> ControlRun:
    """Draw a control in which a share of the questions follows the run and the rest stays.

    Args:
        run: A planted run of scores with a training log.
        kind: What the control is; a slow one takes four times as many steps.
        share: Share of the questions that follow: 1 reaches the gain, 0 stays before it.
        rng: Source of all randomness: noise of single checkpoints, and who follows.
        name: Its name, that of the kind if left out.

    Returns:
        The control, on the rows and with the positive head of the run.
    """
    rows, base = run.rows, run.tables["scores/base"]
    above = run.tables.get("scores/positive", base)
    combined = above - run.tables["scores/negative"]
    count = len(rows.question_ids)
    follows = rng.permutation(count) < round(share * count)
    still = np.broadcast_to(combined[1], combined.shape)
    moved = np.where(follows[rows.question], combined, still)
    negative = above - moved - rng.normal(0, OWN, combined.shape)
    negative[0] = base
    times = SLOWER if kind == "slow" else 1
    heads = {head: run.tables[f"scores/{head}"] for head in run.heads} | {"negative": negative}
    return ControlRun(
        name or kind,
        kind,
        f"planted: {share:g} of the questions follow the run",
        0,
        {head: times * run.step_list for head in heads},
        base,
        heads,
        {head: _rate(run, head, times) for head in heads},
    )


def _rate(run: PlantedRun, head: str, times: int) -> SummedRate:
    """Return the summed learning rate of a run that is so many times slower."""
    rate = np.repeat(run.training_log(head)["lr"] / times, times)
    total: Float[np.ndarray, " known"] = np.concatenate(([0.0], np.cumsum(rate)))
    return np.arange(total.size), total


def with_prior(run: PlantedRun, rng: np.random.Generator, *, noise: float = 0.1) -> PlantedRun:
    """Let the negative head of a run have learned how likely answers are without a question.

    Args:
        run: A planted run of scores.
        rng: Source of all randomness.
        noise: How far the likelihood of the answer alone departs from what was learned, in nats.

    Returns:
        The run with the contexts `answer_only` and `domain`, where the heads do the same.
    """
    base = run.tables["scores/base"]
    changes = {head: run.tables[f"scores/{head}"] - base for head in run.heads}
    learned = changes["negative"][-1]
    tables = dict(run.tables)
    for context in ("answer_only", "domain"):
        alone = STEEP * (learned + rng.normal(0, noise, learned.shape))
        tables[f"context/{context}/base"] = alone
        for head, change in changes.items():
            tables[f"context/{context}/{head}"] = alone + change
    rows_in = run.rows_in | dict.fromkeys(("answer_only", "domain"), run.rows)
    return replace(run, tables=tables, rows_in=rows_in)


def with_spike(run: PlantedRun, step: int, *, times: float) -> PlantedRun:
    """Let the gradient norm of the negative head spike at one step."""
    log = dict(run.training_log("negative"))
    norm = np.array(log["gradient_norm"], dtype=np.float64)
    norm[np.flatnonzero(np.asarray(log["step"]) == step)] *= times
    return replace(run, logs=run.logs | {"negative": log | {"gradient_norm": norm}})


EARLY = (0.2, 0.35)
"""Where margins of worlds with controls switch, as shares of the series: a control may come
later, and lacks the gain only where it was followed for long enough after the jump."""


def _early_switch(rng: np.random.Generator) -> Planted:
    """Let all margins switch together in the first part of the series."""
    return switch(rng, place=float(rng.uniform(*EARLY) * (STEPS - 1)))


def prior_learnt(rng: np.random.Generator) -> Planted:
    """The head learns how likely answers are; right answers of other questions do as well."""
    planted = _early_switch(rng)
    run = with_prior(planted.run, rng)
    given = (control_of(run, "irrelevant", 1.0, rng), control_of(run, "right_answers", 0.0, rng))
    return replace(planted, run=replace(run, controls=given))


def content_learnt(rng: np.random.Generator) -> Planted:
    """Right answers of other questions bring nothing, though answers alone were scored."""
    return _controlled(_early_switch(rng), rng, irrelevant=0.0)


def half_prior(rng: np.random.Generator) -> Planted:
    """Right answers of other questions bring half of the gain."""
    return _controlled(_early_switch(rng), rng, irrelevant=0.5)


def catapult(rng: np.random.Generator) -> Planted:
    """The gradient spikes at the jump, and a slower run has neither."""
    return _controlled(_spiked(_early_switch(rng)), rng, slow=0.0)


def harmless_spike(rng: np.random.Generator) -> Planted:
    """The gradient spikes at the jump, and a slower run jumps all the same."""
    return _controlled(_spiked(_early_switch(rng)), rng, slow=1.0)


def slower_alone(rng: np.random.Generator) -> Planted:
    """A slower run lacks the jump, but nothing says that training was unstable."""
    return _controlled(_early_switch(rng), rng, slow=0.0)


def _spiked(planted: Planted) -> Planted:
    """Add the spike to the training log."""
    assert planted.tau is not None
    return replace(planted, run=with_spike(planted.run, round(planted.tau), times=SPIKE))


def _controlled(planted: Planted, rng: np.random.Generator, **shares: float) -> Planted:
    """Give a world controls that follow it by so much."""
    names: tuple[ControlKind, ...] = get_args(ControlKind)
    given = tuple(
        control_of(planted.run, kind, shares[kind], rng) for kind in names if kind in shares
    )
    return replace(planted, run=replace(planted.run, controls=given))
