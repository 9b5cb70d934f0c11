"""Plan `constant_vector`: the late update replaced by its mean shift after one block.

LoRA is often one added vector (2507.08218). The early model gets mu = mean(late - early) of other
questions added to its residual stream; what of the margin's change comes with it?
"""

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from critical_phase.probes.batches import Batch
from critical_phase.probes.hooks import Hooks
from critical_phase.probes.interventions.bench import Bench
from critical_phase.probes.interventions.contract import Cell, Headline, Outcome, Value
from critical_phase.probes.interventions.edits import Site, change, record
from critical_phase.probes.interventions.lab import Lab
from critical_phase.probes.interventions.slot_kinds import KINDS
from critical_phase.probes.interventions.update import State
from critical_phase.probes.interventions.vectors import Shifts, main_directions, mean_shifts

SCOPES = ("all", "from_question_end")
EVERY = -1
"""In the place of a layer: after every block, what the mean shift grows by there."""


class ConstantVector:
    """One vector for all questions, against random ones, one per kind of position, and rank r."""

    name: ClassVar[str] = "constant_vector"
    about: ClassVar[str] = "the late update replaced by one vector, its mean shift after a block"
    options: ClassVar[Mapping[str, str]] = {
        "scopes": "all,from_question_end",
        "doses": "0,0.5,1,1.5,2",
        "ranks": "1,2,4,8",
        "draws": "5",
    }

    def run(self, lab: Lab) -> Outcome:
        """Fit on the questions that choose, choose layer and scope there, and add controls."""
        lab.check("ranks", lines=("doses",))
        shifts = mean_shifts(lab.bench, lab.pre, lab.post, lab.exploratory)
        layers = range(lab.bench.sites.layers)
        made: dict[tuple[str, int], Cell] = {}
        for scope in lab.chosen("scopes", SCOPES):
            means = [shifts.mean(layer, KINDS[scope]) for layer in layers]
            for layer in layers:
                made[scope, layer] = _added(lab, scope, layer, {layer: means[layer]})
            # Each block gives what the mean shift grows by there: all of it, built up as it is.
            steps = {i: means[i] - (means[i - 1] if i else 0.0) for i in layers}
            made[scope, EVERY] = _added(lab, scope, EVERY, steps)
        shares = [lab.share(cell) for cell in made.values()]
        scope, layer = list(made)[int(np.nanargmax(shares))]
        return self._answer(lab, shifts, made, scope, layer)

    def _answer(
        self, lab: Lab, shifts: Shifts, made: Mapping[tuple[str, int], Cell], scope: str, layer: int
    ) -> Outcome:
        """Measure what speaks for or against the vector of one layer, or of every one."""
        layers, kinds = range(lab.bench.sites.layers), KINDS[scope]
        means = [shifts.mean(one, kinds) for one in layers]
        steps = {i: means[i] - (means[i - 1] if i else 0.0) for i in layers}
        mu = steps if layer == EVERY else {layer: means[layer]}
        others = [made[scope, one] for one in (*layers, EVERY) if one != layer]
        back = _taken(lab, scope, layer, mu)
        controls = [_random(lab, scope, layer, mu, i) for i in range(lab.draws)]
        doses = [_dose(lab, scope, layer, mu, dose) for dose in lab.doses()]
        last = layers[-1] if layer == EVERY else layer
        own = {part: shifts.mean(last, (part,)) for part in kinds}
        lab.measure(back, *others, *controls, *doses, _by_kind(lab, scope, last, own))
        lab.measure(*_ranks(lab, scope, last))
        size = float(torch.stack(list(mu.values())).norm())
        headline = Headline(
            "constant_vector",
            f"one vector (norm {size:.3g}), the mean shift of other questions {_after(layer)} at"
            f" {scope.replace('_', ' ')}, in place of the update",
            made[scope, layer].name,
            "random vectors of the same norm, together turned in one random way,"
            if layer == EVERY
            else "random vectors of the same norm",
            tuple(one.name for one in controls),
            for_verdicts=True,
            opposite=back.name,
            elsewhere=() if layer == EVERY else tuple(one.name for one in others[:-1]),
            doses=tuple(one.name for one in doses),
            layers=() if layer == EVERY else (layer,),
        )
        note = (
            f"{_after(layer)} at {scope} was the best of {len(made)} choices on the questions that"
            f" choose; single kinds of position and ranks are read after layer {last}"
        )
        return Outcome((headline,), (note,))


class Shift:
    """Adds vectors to the stream after some blocks, by kind of slot."""

    def __init__(self, vectors: Mapping[int, Mapping[int, Tensor]]) -> None:
        """Note the vector of each block and kind of slot; other slots keep what they have."""
        self._vectors = {Site("resid", layer): dict(own) for layer, own in vectors.items()}
        self._kinds: Tensor | None = None

    def prepare(self, bench: Bench, batch: Batch) -> None:
        """Find the slots of this batch."""
        self._kinds = bench.kinds(batch)

    def attached(self, bench: Bench) -> Hooks:
        """Add the vectors."""
        return change(bench.sites, {site: self._adding(own) for site, own in self._vectors.items()})

    def _adding(self, vectors: Mapping[int, Tensor]) -> Callable[[Tensor], Tensor]:
        def add(x: Tensor) -> Tensor:
            assert self._kinds is not None
            extra = torch.zeros_like(x)
            for kind, vector in vectors.items():
                extra[self._kinds == kind] = vector.to(x)
            return x + extra

        return add


class Projected:
    """Adds the donor's own shift of every slot, projected on a few directions."""

    def __init__(self, donor: State, layer: int, scope: str, directions: Tensor) -> None:
        """Note donor, place and directions [d, r], orthonormal."""
        self._donor, self._site = donor, Site("resid", layer)
        self._kinds, self._directions = KINDS[scope], directions
        self._late: dict[Site, Tensor] = {}
        self._where: Tensor | None = None

    def prepare(self, bench: Bench, batch: Batch) -> None:
        """Run the donor on this batch."""
        self._late.clear()
        with bench.under(self._donor), record(bench.sites, [self._site], self._late):
            bench.run(batch)
        kinds = bench.kinds(batch)
        self._where = torch.isin(kinds, torch.tensor(self._kinds, device=kinds.device))[..., None]

    def attached(self, bench: Bench) -> Hooks:
        """Add what the donor has more, in these directions."""

        def add(x: Tensor) -> Tensor:
            assert self._where is not None
            basis = self._directions.to(x)
            return x + torch.where(self._where, (self._late[self._site] - x) @ basis @ basis.T, 0.0)

        return change(bench.sites, {self._site: add})


def turned(vectors: Mapping[int, Tensor], rng: np.random.Generator) -> dict[int, Tensor]:
    """Turn vectors in a random way that keeps every length and every angle between them.

    Vectors that are added up block by block then come to sums of the same lengths too, which
    vectors drawn one by one do not.
    """
    columns = torch.stack([one.double() for one in vectors.values()], dim=1)
    _, within = _frame(columns)
    drawn = torch.from_numpy(rng.standard_normal((len(columns), len(within))))
    made = _frame(drawn)[0] @ within
    return dict(zip(vectors, made.unbind(1), strict=True))


def _frame(columns: Tensor) -> tuple[Tensor, Tensor]:
    """Return orthonormal columns and what they are made up with; the first keeps its direction."""
    axes, within = torch.linalg.qr(columns)
    sign = torch.where(within.diagonal() < 0, -1.0, 1.0).to(axes)
    return axes * sign, sign[:, None] * within


def _shift(scope: str, vectors: Mapping[int, Tensor], factor: float = 1.0) -> Shift:
    own = {layer: factor * vector for layer, vector in vectors.items()}
    return Shift({layer: dict.fromkeys(KINDS[scope], one) for layer, one in own.items()})


def _after(layer: int) -> str:
    return "after every layer" if layer == EVERY else f"after layer {layer}"


def _axes(kind: str, scope: str, layer: int, **more: Value) -> dict[str, Value]:
    return {"set": kind, "layer": layer, "scope": scope, **more}


def _added(lab: Lab, scope: str, layer: int, mu: Mapping[int, Tensor]) -> Cell:
    axes = _axes("vector", scope, layer, direction="denoise")
    about = f"adding the mean shift {_after(layer)} at {scope} to the early model"
    return Cell(f"vector/{scope}/{layer}", about, lab.pre, _shift(scope, mu), axes)


def _taken(lab: Lab, scope: str, layer: int, mu: Mapping[int, Tensor]) -> Cell:
    axes = _axes("taken", scope, layer, direction="noise")
    about = f"taking the mean shift {_after(layer)} at {scope} out of the late model"
    return Cell(f"taken/{scope}/{layer}", about, lab.post, _shift(scope, mu, -1.0), axes)


def _random(lab: Lab, scope: str, layer: int, mu: Mapping[int, Tensor], draw: int) -> Cell:
    rng = np.random.default_rng([lab.seed, 23, draw])
    sized = turned(mu, rng)
    about = f"adding a random vector of the same norm {_after(layer)}, draw {draw}"
    axes = _axes("control", scope, layer, draw=draw)
    return Cell(f"control/{scope}/{layer}/{draw}", about, lab.pre, _shift(scope, sized), axes)


def _dose(lab: Lab, scope: str, layer: int, mu: Mapping[int, Tensor], dose: float) -> Cell:
    about = f"adding {dose:g} times the mean shift {_after(layer)} to the early model"
    axes = _axes("dose", scope, layer, dose=dose)
    return Cell(f"dose/{scope}/{layer}/{dose:g}", about, lab.pre, _shift(scope, mu, dose), axes)


def _by_kind(lab: Lab, scope: str, layer: int, vectors: Mapping[int, Tensor]) -> Cell:
    about = f"adding the mean shift of each kind of position after layer {layer} to the early model"
    axes, edit = _axes("by position", scope, layer), Shift({layer: vectors})
    return Cell(f"by position/{scope}/{layer}", about, lab.pre, edit, axes)


def _ranks(lab: Lab, scope: str, layer: int) -> list[Cell]:
    """Give the early model each slot's own shift, cut down to a few directions."""
    found = main_directions(lab.bench, lab.pre, lab.post, layer, KINDS[scope], lab.exploratory)
    cells = []
    for rank in lab.counts("ranks"):
        edit = Projected(lab.post, layer, scope, found[:, :rank])
        axes = _axes("rank", scope, layer, rank=rank)
        about = f"every slot's own shift after layer {layer} in {rank} directions"
        cells.append(Cell(f"rank/{scope}/{layer}/{rank}", about, lab.pre, edit, axes))
    return cells
