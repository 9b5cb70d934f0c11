"""Plan `leace`: what a linear probe of the base reads is erased in the late and the early model."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float

from critical_phase.errors import FitError
from critical_phase.probes.interventions.answer_states import (
    AnswerStates,
    answer_states,
    means_by_kind,
)
from critical_phase.probes.interventions.contract import Outcome
from critical_phase.probes.interventions.erasers import Eraser
from critical_phase.probes.interventions.erasing import EVERY, Asked, after, erase
from critical_phase.probes.interventions.lab import Lab
from critical_phase.probes.interventions.leace_fit import Leace, cross_covariance, fit_leace
from critical_phase.probes.interventions.slot_kinds import ANSWER, KINDS
from critical_phase.probes.interventions.truth_directions import (
    FITS,
    PENALTY,
    fit_state,
    ridge_weights,
    top1,
)

LIMIT = 1e-6
"""Largest cross-covariance after erasing, as a part of the one before."""


class LeacePlan:
    """Erases the concept `right` (minus its share in the question) from the stream."""

    name: ClassVar[str] = "leace"
    about: ClassVar[str] = "LEACE: what a linear probe of the base reads erased, late and early"
    options: ClassVar[Mapping[str, str]] = {
        "fit": "base",
        "scope": "from_question_end",
        "shrinkage": "0.1",
        "doses": "0,0.25,0.5,0.75,1",
        "draws": "5",
    }

    def run(self, lab: Lab) -> Outcome:
        """Fit on the questions that choose, erase, and say how much a new probe still reads."""
        scope, fit = lab.one("scope", tuple(KINDS)), lab.one("fit", FITS)
        shrinkage = lab.numbers("shrinkage")[0]
        states = answer_states(lab.bench, fit_state(lab), lab.exploratory)
        layers = range(lab.bench.sites.layers)
        fits = {i: fit_leace(states.values[i].astype(np.float64), concept(states), shrinkage)
                for i in layers}  # fmt: skip
        left = {i: _left(states, i, one) for i, one in fits.items()}
        erasers = {i: as_eraser(one, states, i, scope) for i, one in fits.items()}
        asked = Asked(
            "erase_direction",
            f"what a linear probe of the {fit} reads (LEACE)",
            erasers,
            scope,
            for_verdicts=True,
        )
        outcome, best = erase(lab, asked)
        said = _said(lab, states, fits, best)
        return Outcome(
            outcome.headlines,
            (*outcome.notes, _how(states, fits, left, shrinkage), said),
            pairs=outcome.pairs,
        )


def concept(states: AnswerStates) -> Float[np.ndarray, "row 1"]:
    """Return what is erased: right or wrong, minus the share of right ones in the question."""
    return states.labels[:, None]


def as_eraser(fit: Leace, states: AnswerStates, layer: int, scope: str) -> Eraser:
    """Turn a fit into a map of slots; slots of the question keep the mean of their own kind."""
    means = means_by_kind(states, layer, scope)
    if ANSWER in means:
        means[ANSWER] = torch.from_numpy(fit.mean)
    return Eraser(torch.from_numpy(fit.reads), torch.from_numpy(fit.writes), means)


def _left(states: AnswerStates, layer: int, fit: Leace) -> float:
    """Return the cross-covariance after erasing as a part of the one before.

    Raises:
        FitError: More than rounding is left.
    """
    x, z = states.values[layer].astype(np.float64), concept(states)
    before, after_ = (np.linalg.norm(cross_covariance(one, z)) for one in (x, fit(x)))
    left = float(after_ / before)
    if not left <= LIMIT:
        raise FitError(
            f"{left:.1e} of the cross-covariance is left after layer {layer}, above {LIMIT:g}",
            fix="give a larger --with shrinkage=...",
        )
    return left


def _how(
    states: AnswerStates, fits: Mapping[int, Leace], left: Mapping[int, float], shrinkage: float
) -> str:
    rows, questions = len(states.right), len(np.unique(states.question))
    part = [_moved(states, i, fit) for i, fit in fits.items()]
    return (
        f"LEACE fitted on {rows} candidates of {questions} questions that choose (mean over the"
        f" candidate's tokens, every row alike), covariance shrunk by {shrinkage:g} towards its"
        f" mean variance; cross-covariance left at most {max(left.values()):.1e} of what it was,"
        f" {min(part):.2g} to {max(part):.2g} of the variance is moved; after every layer means"
        " all of these maps, each fitted where nothing is erased before it"
    )


def _moved(states: AnswerStates, layer: int, fit: Leace) -> float:
    x = states.values[layer].astype(np.float64)
    return float(((fit(x) - x) ** 2).sum() / ((x - fit.mean) ** 2).sum())


def _said(lab: Lab, states: AnswerStates, fits: Mapping[int, Leace], best: int) -> str:
    """Say how well a probe reads other questions before, and trained anew after erasing."""
    layer = max(fits) if best == EVERY else best
    other = answer_states(lab.bench, fit_state(lab), ~lab.exploratory)
    found = []
    for erased in (False, True):
        here, there = (s.values[layer].astype(np.float64) for s in (states, other))
        if erased:
            here, there = fits[layer](here), fits[layer](there)
        w = ridge_weights(states.centred(here), states.labels, PENALTY)
        found.append(top1(there, other, w))
    chance = float(np.mean([other.right[other.question == q].mean()
                            for q in np.unique(other.question)]))  # fmt: skip
    return (
        f"a ridge probe trained {after(layer)} ranks {found[0]:.2f} of the other questions right,"
        f" and {found[1]:.2f} when it is trained after erasing (chance {chance:.2f})"
    )
