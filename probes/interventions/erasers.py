"""Affine maps that take something out of a vector, and edits that apply them to the stream.

r(x) = x - B A'(x - mu). A direction's ablation is A = B = v; LEACE has A and B of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from critical_phase.probes.batches import Batch
from critical_phase.probes.hooks import Hooks
from critical_phase.probes.interventions.bench import Bench
from critical_phase.probes.interventions.edits import Site, change, record
from critical_phase.probes.interventions.slot_kinds import KINDS
from critical_phase.probes.interventions.update import State


@dataclass(frozen=True, eq=False)
class Eraser:
    """x - B A'(x - mu), in float64."""

    reads: Float[Tensor, "d k"]
    """A: what is read of a vector."""
    writes: Float[Tensor, "d k"]
    """B: along which it is taken out."""
    means: Mapping[int, Float[Tensor, " d"]] = field(default_factory=dict)
    """mu by kind of slot, which r leaves where it is; 0 where a kind is not named."""

    def amount(self, x: Float[Tensor, "*slot d"], kind: int) -> Float[Tensor, "*slot d"]:
        """Return B A'(x - mu): what is taken out of slots of one kind."""
        wide = x.double()
        if kind in self.means:
            wide = wide - self.means[kind].to(wide)
        return wide @ self.reads.to(wide) @ self.writes.to(wide).T

    def elsewhere(self, seed: list[int]) -> "Eraser":
        """Return a map that moves every vector as far, along random directions instead."""
        rng = np.random.default_rng(seed)
        made = torch.from_numpy(rng.standard_normal(tuple(self.writes.shape)))
        return replace(self, writes=made * (self.writes.norm(dim=0) / made.norm(dim=0)))


class Erased:
    """Takes something out of the stream after some blocks."""

    def __init__(self, erasers: Mapping[int, Eraser], scope: str, dose: float = 1.0) -> None:
        """Note the map of each block, the positions and how much of it is done."""
        self._erasers = {Site("resid", layer): one for layer, one in erasers.items()}
        self._scope, self._dose = KINDS[scope], dose
        self._kinds: Tensor | None = None

    def prepare(self, bench: Bench, batch: Batch) -> None:
        """Find the slots of this batch."""
        self._kinds = bench.kinds(batch)

    def attached(self, bench: Bench) -> Hooks:
        """Take it out."""
        return change(bench.sites, {site: self._out(one) for site, one in self._erasers.items()})

    def _out(self, eraser: Eraser) -> Callable[[Tensor], Tensor]:
        def out(x: Tensor) -> Tensor:
            assert self._kinds is not None
            made = x.clone()
            for kind in self._scope:
                at = self._kinds == kind
                made[at] -= (self._dose * eraser.amount(x[at], kind)).to(x)
            return made

        return out


class Given:
    """The reverse: gives the stream what a donor has more of just that, slot by slot."""

    def __init__(self, donor: State, erasers: Mapping[int, Eraser], scope: str) -> None:
        """Note donor, maps and positions."""
        self._donor, self._scope = donor, KINDS[scope]
        # What early and late differ by has no mean of its own to keep.
        self._erasers = {
            Site("resid", layer): replace(one, means={}) for layer, one in erasers.items()
        }
        self._late: dict[Site, Tensor] = {}
        self._where: Tensor | None = None

    def prepare(self, bench: Bench, batch: Batch) -> None:
        """Run the donor on this batch."""
        self._late.clear()
        with bench.under(self._donor), record(bench.sites, list(self._erasers), self._late):
            bench.run(batch)
        kinds = bench.kinds(batch)
        self._where = torch.isin(kinds, torch.tensor(self._scope, device=kinds.device))

    def attached(self, bench: Bench) -> Hooks:
        """Give it."""
        return change(bench.sites, {site: self._in(site, e) for site, e in self._erasers.items()})

    def _in(self, site: Site, eraser: Eraser) -> Callable[[Tensor], Tensor]:
        def give(x: Tensor) -> Tensor:
            at = self._where
            assert at is not None
            made = x.clone()
            gap = self._late[site][at].double() - x[at].double()
            made[at] += eraser.amount(gap, -1).to(x)
            return made

        return give
