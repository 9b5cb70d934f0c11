"""Cells that swap adapter rows between the early and the late model at a set of places."""

from collections.abc import Sequence
from math import comb

import numpy as np

from critical_phase.probes.interventions.contract import Cell, Headline, Value
from critical_phase.probes.interventions.lab import Lab
from critical_phase.probes.interventions.update import Place, grafted, mixed

DENOISE, NOISE = "denoise", "noise"
"""Late adapters in the early model (is it sufficient?), early ones in the late (is it needed?)."""
DIRECTIONS = (DENOISE, NOISE)
PEERS = 10
"""Sets of as many places that are drawn beside a chosen one."""


def graft_cell(
    lab: Lab, direction: str, kind: str, label: str, places: Sequence[Place], **axes: Value
) -> Cell:
    """Swap the rows of some places.

    Args:
        lab: The two states.
        direction: `denoise` puts late ones into the early model, `noise` the reverse.
        kind: Which family of sets this is, such as `prefix`.
        label: Which of them.
        places: Where.
        axes: Of the table.
    """
    into, of = (lab.pre, lab.post) if direction == DENOISE else (lab.post, lab.pre)
    words = ("late", "early") if direction == DENOISE else ("early", "late")
    about = f"grafting the {words[0]} adapters of {in_words(places)} into the {words[1]} model"
    state = grafted(into, of, places)
    shown = {"direction": direction, "set": kind, "label": label, **axes}
    return Cell(f"{direction}/{kind}/{label}", about, state, axes=shown)


def answer(
    lab: Lab, plan: str, label: str, places: Sequence[Place], *, for_verdicts: bool = False
) -> Headline:
    """Measure everything that speaks for or against one set of places.

    Both directions, random updates of the same norm in the same places, the same in all other
    places and in as many places drawn at random, and doses on the way from early to late.

    Args:
        lab: The two states.
        plan: Name of the headline.
        label: Of its cells.
        places: Where.
        for_verdicts: Whether a verdict reads it.
    """
    cell = graft_cell(lab, DENOISE, plan, label, places)
    back = graft_cell(lab, NOISE, plan, label, places)
    others = [place for place in lab.places if place not in set(places)]
    elsewhere = [graft_cell(lab, DENOISE, plan, "all other places", others)] if others else []
    controls = [_random(lab, plan, places, i) for i in range(lab.draws)]
    doses = [_dose(lab, plan, places, alpha) for alpha in lab.doses()]
    peers = [
        graft_cell(lab, DENOISE, f"{plan} as many", str(i), drawn)
        for i, drawn in enumerate(as_many(lab.places, places, lab.seed))
    ]
    lab.measure(cell, back, *elsewhere, *controls, *doses, *peers)
    return Headline(
        plan,
        cell.about,
        cell.name,
        "random updates of the same norms there",
        tuple(one.name for one in controls),
        for_verdicts=for_verdicts,
        opposite=back.name,
        elsewhere=tuple(one.name for one in elsewhere),
        doses=tuple(one.name for one in doses),
        layers=tuple(sorted({place.layer for place in places})),
        peers=tuple(one.name for one in peers),
        modules=tuple(sorted({place.short for place in places})),
        adapters=True,
    )


def as_many(every: Sequence[Place], chosen: Sequence[Place], seed: int) -> list[tuple[Place, ...]]:
    """Draw other sets of as many places, each once; all of them where there are few.

    Args:
        every: Places to draw from.
        chosen: The set they are held beside, which is not drawn.
        seed: Of the drawing.
    """
    order = list(every)
    rng = np.random.default_rng([seed, 11])
    own, found = frozenset(chosen), dict[frozenset[Place], tuple[Place, ...]]()
    wanted = min(PEERS, comb(len(order), len(own)) - 1)
    while len(found) < wanted:
        drawn = sorted(rng.choice(len(order), len(own), replace=False))
        places = tuple(order[i] for i in drawn)
        if frozenset(places) != own:
            found.setdefault(frozenset(places), places)
    return list(found.values())


def in_words(places: Sequence[Place]) -> str:
    """Name places briefly: by layers where whole layers are meant, else by module."""
    layers: dict[int, list[str]] = {}
    for place in places:
        name = place.short if place.head is None else f"{place.short} head {place.head}"
        layers.setdefault(place.layer, []).append(name)
    kinds = {tuple(names) for names in layers.values()}
    numbers = _runs(sorted(layers))
    if len(kinds) == 1:
        return f"layers {numbers} ({', '.join(next(iter(kinds)))})"
    return "; ".join(f"layer {layer} ({', '.join(names)})" for layer, names in layers.items())


def _runs(numbers: list[int]) -> str:
    """Write ascending numbers, runs of neighbours shortened."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)


def _random(lab: Lab, plan: str, places: Sequence[Place], draw: int) -> Cell:
    state = lab.random_beside(lab.pre, places, draw)
    about = f"random updates of the same norms in {in_words(places)} of the early model"
    axes: dict[str, Value] = {"set": f"{plan} control", "draw": draw}
    return Cell(f"control/{plan}/{draw}", f"{about}, draw {draw}", state, axes=axes)


def _dose(lab: Lab, plan: str, places: Sequence[Place], alpha: float) -> Cell:
    moved = mixed(lab.pre, lab.post, alpha)
    state = grafted(lab.pre, moved, places)
    about = f"{alpha:g} of the way from early to late in {in_words(places)}"
    axes: dict[str, Value] = {"set": f"{plan} dose", "dose": alpha}
    return Cell(f"dose/{plan}/{alpha:g}", about, state, axes=axes)
