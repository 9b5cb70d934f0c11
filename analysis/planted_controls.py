"""Control runs of a planted run: how much of its gain they reach is known."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from .control_run import ControlKind, ControlRun, SummedRate
from .planted_scores import OWN
from .worlds import PlantedRun

SLOWER = 4
"""Factor by which the learning rate of a planted slow control is lower."""

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
