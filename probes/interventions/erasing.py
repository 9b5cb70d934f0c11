"""Cells that take something out of the late and of the early model, layer by layer."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from critical_phase.probes.interventions.contract import Cell, Headline, Outcome, Pair, Value
from critical_phase.probes.interventions.erasers import Erased, Eraser, Given
from critical_phase.probes.interventions.lab import Lab

EVERY = -1
"""In the place of a layer: after every block."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What is erased, and how the answer is called."""

    plan: str
    what: str
    """A noun phrase, such as `the mass-mean direction of the base`."""
    erasers: Mapping[int, Eraser]
    """One per layer."""
    scope: str
    for_verdicts: bool = False


def erase(lab: Lab, asked: Asked) -> tuple[Outcome, int]:
    """Erase after each layer and after all, choose by what goes, and measure what speaks for it.

    Returns:
        The answer, and the layer that was chosen on the questions that choose.
    """
    lab.check(lines=("doses",))
    choices = (*sorted(asked.erasers), EVERY)
    late = {layer: _erased(lab, asked, "late", layer) for layer in choices}
    early = {layer: _erased(lab, asked, "early", layer) for layer in choices}
    shares = [lab.share(late[layer]) for layer in choices]
    lab.measure(*early.values())
    best = choices[int(np.nanargmin(shares))]
    given = _given(lab, asked, best)
    controls = [_random(lab, asked, best, i) for i in range(lab.draws)]
    doses = [_dose(lab, asked, best, dose) for dose in lab.doses()]
    lab.measure(given, *controls, *doses)
    others = [late[layer].name for layer in choices if layer not in (best, EVERY)]
    headline = Headline(
        asked.plan,
        f"erasing {asked.what} {after(best)} at {asked.scope.replace('_', ' ')} in the late model",
        late[best].name,
        "moving every position as far in a random direction",
        tuple(one.name for one in controls),
        lost=True,
        for_verdicts=asked.for_verdicts,
        opposite=given.name,
        elsewhere=() if best == EVERY else tuple(others),
        doses=tuple(one.name for one in doses),
        layers=() if best == EVERY else (best,),
    )
    pairs = [_pair(asked, layer, late[layer], early[layer], shown=layer == best)
             for layer in choices]  # fmt: skip
    note = f"{after(best)} was the best of {len(choices)} choices on the questions that choose"
    return Outcome((headline,), (note,), pairs=tuple(pairs)), best


def after(layer: int) -> str:
    """Name a layer, or all of them."""
    return "after every layer" if layer == EVERY else f"after layer {layer}"


def _at(asked: Asked, layer: int) -> dict[int, Eraser]:
    return dict(asked.erasers) if layer == EVERY else {layer: asked.erasers[layer]}


def _axes(kind: str, asked: Asked, layer: int, **more: Value) -> dict[str, Value]:
    return {"set": kind, "layer": layer, "scope": asked.scope, **more}


def _erased(lab: Lab, asked: Asked, end: str, layer: int) -> Cell:
    into = lab.post if end == "late" else lab.pre
    about = f"erasing {asked.what} {after(layer)} at {asked.scope} in the {end} model"
    edit = Erased(_at(asked, layer), asked.scope)
    axes = _axes(f"{end} erased", asked, layer, direction="noise" if end == "late" else "both")
    return Cell(f"{end}/{layer}", about, into, edit, axes)


def _given(lab: Lab, asked: Asked, layer: int) -> Cell:
    edit = Given(lab.post, _at(asked, layer), asked.scope)
    about = f"giving the early model what the late one has more of {asked.what} {after(layer)}"
    axes = _axes("given", asked, layer, direction="denoise")
    return Cell(f"given/{layer}", about, lab.pre, edit, axes)


def _random(lab: Lab, asked: Asked, layer: int, draw: int) -> Cell:
    made = {at: one.elsewhere([lab.seed, 31, draw, at]) for at, one in _at(asked, layer).items()}
    about = f"moving the late model as far in a random direction {after(layer)}, draw {draw}"
    axes = _axes("control", asked, layer, draw=draw)
    return Cell(f"control/{layer}/{draw}", about, lab.post, Erased(made, asked.scope), axes)


def _dose(lab: Lab, asked: Asked, layer: int, dose: float) -> Cell:
    edit = Erased(_at(asked, layer), asked.scope, dose)
    about = f"erasing {dose:g} of {asked.what} {after(layer)} in the late model"
    return Cell(
        f"dose/{layer}/{dose:g}", about, lab.post, edit, _axes("dose", asked, layer, dose=dose)
    )


def _pair(asked: Asked, layer: int, late: Cell, early: Cell, *, shown: bool) -> Pair:
    about = f"left of the margin's change with {asked.what} erased {after(layer)} in both models"
    return Pair(f"both/{layer}", about, late.name, early.name, shown)
