"""Plan `ablate`: one direction taken out of the residual stream, h - v (v . h)."""

from collections.abc import Mapping
from typing import ClassVar

import torch

from critical_phase.probes.interventions.answer_states import answer_states, means_by_kind
from critical_phase.probes.interventions.contract import Outcome
from critical_phase.probes.interventions.erasers import Eraser
from critical_phase.probes.interventions.erasing import Asked, erase
from critical_phase.probes.interventions.lab import Lab
from critical_phase.probes.interventions.slot_kinds import KINDS
from critical_phase.probes.interventions.truth_directions import directions, fit_state

TO = ("zero", "mean")


class Ablate:
    """Takes a direction out of the late and of the early model; random ones move as far."""

    name: ClassVar[str] = "ablate"
    about: ClassVar[str] = "a direction taken out of the stream, late and early: h - v (v . h)"
    options: ClassVar[Mapping[str, str]] = {
        "direction": "mass_mean",
        "fit": "base",
        "scope": "from_question_end",
        "to": "zero",
        "doses": "0,0.25,0.5,0.75,1",
        "draws": "5",
    }

    def run(self, lab: Lab) -> Outcome:
        """Find the direction of every layer on the questions that choose, and erase it."""
        scope, to = lab.one("scope", tuple(KINDS)), lab.one("to", TO)
        found, words = directions(lab, scope)
        means: dict[int, dict[int, torch.Tensor]] = {}
        if to == "mean":
            states = answer_states(lab.bench, fit_state(lab), lab.exploratory)
            means = {layer: means_by_kind(states, layer, scope) for layer in found}
        erasers = {
            layer: Eraser(v[:, None], v[:, None], means.get(layer, {}))
            for layer, v in found.items()
        }
        outcome, _ = erase(lab, Asked("ablate", f"the {words}", erasers, scope))
        return outcome
