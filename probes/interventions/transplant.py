"""Put what a donor holds at some sites and positions into the model that is run."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from critical_phase.probes.batches import Batch
from critical_phase.probes.hooks import Hooks
from critical_phase.probes.interventions.bench import Bench
from critical_phase.probes.interventions.edits import Site, change, record
from critical_phase.probes.interventions.slot_kinds import chosen_slots
from critical_phase.probes.interventions.update import State
from critical_phase.probes.positions import by_line


class Transplant:
    """Patches activations: the donor reads the same batch first."""

    def __init__(self, donor: State, sites: Sequence[Site], position: str = "all") -> None:
        """Note what comes from where.

        Args:
            donor: State whose activations are taken.
            sites: Where they are taken and put.
            position: Of `KINDS`; all other slots keep their own.
        """
        self._donor, self._sites, self._position = donor, tuple(sites), position
        self._values: dict[Site, Tensor] = {}
        self._where: Tensor | None = None
        self._batch: Batch | None = None

    def prepare(self, bench: Bench, batch: Batch) -> None:
        """Run the donor on this batch."""
        self._values.clear()
        with bench.under(self._donor), record(bench.sites, self._sites, self._values):
            bench.run(batch)
        self._where = chosen_slots(bench.kinds(batch), self._position)[..., None]
        self._batch = batch

    def attached(self, bench: Bench) -> Hooks:
        """Put the donor's values in."""
        return change(bench.sites, {site: self._put(site) for site in self._sites})

    def _put(self, site: Site) -> Callable[[Tensor], Tensor]:
        def put(x: Tensor) -> Tensor:
            assert self._where is not None
            assert self._batch is not None
            shape = x.shape
            theirs, own = (by_line(value, self._batch) for value in (self._values[site], x))
            return torch.where(self._where, self._new(theirs, own), own).reshape(shape)

        return put

    def _new(self, theirs: Tensor, own: Tensor) -> Tensor:
        """Return what is put in: the donor's values."""
        return theirs


class RandomTransplant(Transplant):
    """The control: every slot moves as far as the donor's is away, in one random direction."""

    def __init__(self, donor: State, sites: Sequence[Site], position: str, seed: int) -> None:
        """Note what comes from where, and the seed of the direction."""
        super().__init__(donor, sites, position)
        self._seed = seed

    def _new(self, theirs: Tensor, own: Tensor) -> Tensor:
        rng = np.random.default_rng([self._seed, 29])
        direction = torch.from_numpy(rng.standard_normal(own.shape[-1])).to(own)
        size: Tensor = (theirs - own).norm(dim=-1, keepdim=True) / direction.norm()
        return own + size * direction
