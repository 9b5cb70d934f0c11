"""Every cell of an intervention as plain values: what is written, drawn and read by scripts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inputs import mean_by_question
from critical_phase.analysis.interventions.intervention_claim import Claim
from critical_phase.analysis.interventions.intervention_doses import Barrier, barrier, crossings
from critical_phase.analysis.interventions.intervention_effect import (
    Effect,
    Number,
    between,
    effect,
)
from critical_phase.analysis.interventions.intervention_frame import Frame
from critical_phase.analysis.scores.margin import by_label

Axes = Mapping[str, str | int | float]


def cell_rows(
    frame: Frame,
    cells: Sequence[tuple[str, str, Axes]],
    acting: Float[np.ndarray, "cell row"],
) -> list[dict[str, Any]]:
    """Read every cell on the questions that chose nothing.

    Args:
        frame: Early and late model, and how scores are made.
        cells: Name, words and axes of each.
        acting: Log-likelihoods of the acting head [cell, row].

    Returns:
        Per cell its name, words and axes; `share` of the margin's change that is there with
        `interval`, `share_exploratory` on the questions that choose, `margin` and `accuracy`
        with intervals.
    """
    made = []
    for (name, about, axes), line in zip(cells, acting, strict=True):
        own = effect(frame, line[None], frame.confirmatory)
        other = effect(frame, line[None], ~frame.confirmatory)
        row = {"name": name, "about": about, **effect_values(own)}
        made.append({**row, "share_exploratory": other.share.value, "axes": dict(axes)})
    return made


def effect_values(found: Effect) -> dict[str, Any]:
    """Write an effect as plain values."""
    accuracy = found.accuracy
    return {
        "share": found.share.value,
        "interval": list(found.share.interval),
        "margin": found.margin.value,
        "margin_interval": list(found.margin.interval),
        "accuracy": None if accuracy is None else accuracy.value,
        "accuracy_interval": None if accuracy is None else list(accuracy.interval),
        "single_question_quantiles": list(found.singles),
        "questions": found.questions,
    }


def claim_values(found: Claim) -> dict[str, Any]:
    """Write a claim as plain values; the keys that verdicts read come first.

    Where `lost`, `share` and `control_share` are what is taken away: 1 - what is still there.
    """
    share, control = (
        one.lost if found.lost else one.share for one in (found.effect, found.control_effect)
    )
    random = found.control_effect
    another = random.another_lost if found.lost else random.another
    values: dict[str, Any] = {
        "about": found.about,
        "share": share.value,
        "interval": list(share.interval),
        "control": found.control,
        "control_share": control.value,
        "control_interval": list(control.interval),
        "control_another": None if another is None else list(another),
        "questions": found.effect.questions,
        "lost": found.lost,
        "effect": effect_values(found.effect),
        "exploratory": effect_values(found.exploratory),
        "control_effect": effect_values(found.control_effect),
        "opposite": None if found.opposite is None else effect_values(found.opposite),
        "elsewhere": [{"name": name, **effect_values(one)} for name, one in found.elsewhere],
        "peers": _peers(found),
        "doses": None,
        "points": [
            {"number": p.number, "asks": p.asks, "met": p.met, "found": p.found}
            for p in found.points
        ],
        "causes": found.causes,
        "sentence": found.sentence,
    }
    if found.doses is not None:
        values["doses"] = {
            "dose": list(found.doses.doses),
            "share": [number_values(one) for one in found.doses.share],
            "accuracy": [None if a is None else number_values(a) for a in found.doses.accuracy],
            "rise": number_values(found.doses.rise),
            "drops": [number_values(one) for one in found.doses.drops],
            "monotone": found.doses.monotone,
        }
    return values


def _peers(found: Claim) -> dict[str, Any] | None:
    """Write what sets of as many places do, as much as comes or goes."""
    if found.peers is None:
        return None
    size = found.peers.lost if found.lost else found.peers.share
    another = found.peers.another_lost if found.lost else found.peers.another
    return {
        "share": size.value,
        "interval": list(size.interval),
        "another": None if another is None else list(another),
    }


def path_values(
    frame: Frame, doses: Float[np.ndarray, " dose"], acting: Float[np.ndarray, "dose row"]
) -> dict[str, Any]:
    """Read a path: barriers of margin and of the head's own loss, and where questions cross.

    All on the questions that chose nothing. The head's own loss is minus the log-likelihood of
    what it is trained on: of the wrong candidates, averaged, for the negative head.
    """
    part, weights = frame.confirmatory, frame.weights(frame.confirmatory)
    margin = frame.margins(acting)[:, part]
    right, wrong = by_label(frame.rows, np.asarray(acting, dtype=np.float64))
    taught = (wrong if frame.head == "negative" else right)[:, part]
    found = crossings(doses, margin)
    values: dict[str, Any] = {
        "dose": doses.tolist(),
        "margin": margin.mean(axis=1).tolist(),
        "taught_loglikelihood": taught.mean(axis=1).tolist(),
        "loglikelihood": mean_by_question(frame.rows, acting)[:, part].mean(axis=1).tolist(),
        "crossing": {
            "quartiles": list(found.quantiles),
            "cross": found.cross,
            "never": found.never,
            "always": found.always,
        },
        "barrier_margin": None,
        "barrier_loss": None,
    }
    if {0.0, 1.0} <= set(doses.tolist()):
        values["barrier_margin"] = _barrier(barrier(doses, margin, weights))
        values["barrier_loss"] = _barrier(barrier(doses, taught, weights))
    return values


def pair_values(
    frame: Frame,
    pairs: Sequence[tuple[str, str]],
    acting: Float[np.ndarray, "pair 2 row"],
) -> list[dict[str, Any]]:
    """Read pairs of a late and an early cell, on the questions that chose nothing.

    Args:
        frame: Early and late model, and how scores are made.
        pairs: Name and words of each.
        acting: Log-likelihoods of the acting head, late and early.
    """
    made = []
    for (name, about), (late, early) in zip(pairs, acting, strict=True):
        found = between(frame, late, early, frame.confirmatory)
        values = {"share": found.value, "interval": list(found.interval)}
        made.append({"name": name, "about": about, **values})
    return made


def number_values(one: Number) -> dict[str, Any]:
    """Write a number with its interval."""
    return {"value": one.value, "interval": list(one.interval)}


def _barrier(one: Barrier) -> dict[str, Any]:
    return {**number_values(one.height), "dose": one.dose}
