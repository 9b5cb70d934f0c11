"""Plan `steer`: a direction added to the early model and to the base, h + alpha v.

alpha 1 is as long as the mean shift from early to late there, so 1 moves as far as training did
on average. Both signs are tried: which way a direction works in the head is not known before.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from critical_phase.errors import ConfigError
from critical_phase.probes.interventions.constant_vector import Shift
from critical_phase.probes.interventions.contract import Cell, Headline, Outcome, Pair, Value
from critical_phase.probes.interventions.lab import Lab
from critical_phase.probes.interventions.slot_kinds import KINDS
from critical_phase.probes.interventions.truth_directions import directions
from critical_phase.probes.interventions.update import State
from critical_phase.probes.interventions.vectors import mean_shifts

Vectors = Mapping[int, Float[Tensor, " d"]]
"""What alpha 1 adds after each layer."""
PARTS = (0.25, 0.5, 0.75)
"""Of the chosen dose, on the way from nothing to it."""


class Steer:
    """Dose and response of one direction; does it make the early model the late one?"""

    name: ClassVar[str] = "steer"
    about: ClassVar[str] = "a direction added to the early model or the base: does the jump come?"
    options: ClassVar[Mapping[str, str]] = {
        "direction": "mass_mean",
        "fit": "base",
        "scope": "from_question_end",
        "doses": "0.5,1,2,4",
        "draws": "5",
    }

    def run(self, lab: Lab) -> Outcome:
        """Try every layer, sign and dose on the early model; choose on questions that choose."""
        lab.check()
        scope, sizes_tried = lab.one("scope", tuple(KINDS)), [d for d in lab.numbers("doses") if d]
        if not sizes_tried:
            raise ConfigError("a dose of 0 steers nothing", fix="such as --with doses=0.5,1,2")
        found, words = directions(lab, scope)
        shifts = mean_shifts(lab.bench, lab.pre, lab.post, lab.exploratory)
        sizes = {i: float(shifts.mean(i, KINDS[scope]).norm()) for i in found}
        vectors = {i: sizes[i] * v for i, v in found.items()}
        doses = [s * d for d in sizes_tried for s in (1.0, -1.0)]
        made = {
            (i, d): _cell(lab, "early", lab.pre, vectors, i, d, scope) for i in found for d in doses
        }
        shares = {key: lab.share(cell) for key, cell in made.items()}
        # What any large vector does, damage of the head above all, both signs do.
        beyond = [shares[i, d] - shares[i, -d] for i, d in made]
        layer, dose = list(made)[int(np.nanargmax(beyond))]
        return self._answer(lab, vectors, made, words, scope, layer, dose)

    def _answer(
        self,
        lab: Lab,
        vectors: Vectors,
        made: Mapping[tuple[int, float], Cell],
        words: str,
        scope: str,
        layer: int,
        dose: float,
    ) -> Outcome:
        """Measure what speaks for or against the chosen layer and dose."""
        # Beyond the best dose a response may fall again: the line ends there. Its parts are the
        # same whichever dose was chosen, since the smallest would have no line of its own.
        nothing = _cell(lab, "early", lab.pre, vectors, layer, 0.0, scope)
        parts = [_cell(lab, "early", lab.pre, vectors, layer, p * dose, scope) for p in PARTS]
        doses = [nothing, *parts, made[layer, dose]]
        back = _cell(lab, "late", lab.post, vectors, layer, -dose, scope)
        base = [_cell(lab, "base", {}, vectors, layer, d, scope) for d in (0.0, dose)]
        controls = [_random(lab, vectors, layer, dose, scope, i) for i in range(lab.draws)]
        lab.measure(back, *base, *doses, *controls)
        others = [cell.name for (at, d), cell in made.items() if at != layer and d == dose]
        opposite = made[layer, -dose]
        headline = Headline(
            "steer",
            f"adding {dose:g} times the {words} (norm {abs(dose) * _norm(vectors, layer):.3g})"
            f" after layer {layer} at {scope.replace('_', ' ')} to the early model",
            made[layer, dose].name,
            "random vectors of the same norm",
            tuple(one.name for one in controls),
            opposite=back.name,
            elsewhere=tuple(others),
            doses=tuple(one.name for one in doses),
            layers=(layer,),
        )
        pairs = (
            Pair(
                "opposite sign",
                f"brought by the other sign, {-dose:g}, in the early model",
                opposite.name,
                nothing.name,
                shown=True,
            ),
            Pair(
                "base",
                f"brought by {dose:g} in the base model, beside the base itself",
                base[1].name,
                base[0].name,
                shown=True,
            ),
        )
        note = (
            f"layer {layer} and alpha {dose:g} bring most beyond what the other sign brings, of"
            f" {len(made)} layers, signs and doses, on the questions that choose; alpha 1 is as"
            f" long as the mean shift from early to late there, {_norm(vectors, layer):.3g}"
        )
        return Outcome((headline,), (note,), pairs=pairs)


def _norm(vectors: Vectors, layer: int) -> float:
    return float(vectors[layer].norm())


def _cell(
    lab: Lab,
    where: str,
    state: State,
    vectors: Vectors,
    layer: int,
    dose: float,
    scope: str,
) -> Cell:
    axes: dict[str, Value] = {"set": f"{where} steered", "layer": layer, "scope": scope}
    axes |= {"alpha": dose, "dose": abs(dose)}
    about = f"adding {dose:g} times the direction after layer {layer} to the {where} model"
    edit = Shift({layer: dict.fromkeys(KINDS[scope], dose * vectors[layer])})
    return Cell(f"{where}/{layer}/{dose:g}", about, state, edit, axes)


def _random(lab: Lab, vectors: Vectors, layer: int, dose: float, scope: str, draw: int) -> Cell:
    rng = np.random.default_rng([lab.seed, 37, draw])
    other = torch.from_numpy(rng.standard_normal(vectors[layer].numel()))
    other = other * (abs(dose) * vectors[layer].norm() / other.norm())
    axes: dict[str, Value] = {"set": "control", "layer": layer, "scope": scope, "draw": draw}
    about = f"adding a random vector of the same norm after layer {layer}, draw {draw}"
    edit = Shift({layer: dict.fromkeys(KINDS[scope], other)})
    return Cell(f"control/{layer}/{dose:g}/{draw}", about, lab.pre, edit, axes)
