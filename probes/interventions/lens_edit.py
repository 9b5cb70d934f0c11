"""Read the answer off the stream after an early block, through the model's own last map.

What a block leaves goes straight to the final norm, which is applied once, then through the output
map and whatever the family does to logits. So after the last block the lens is the model itself.
"""

from collections.abc import Callable

from torch import Tensor

from critical_phase.probes.batches import Batch
from critical_phase.probes.hooks import Hooks
from critical_phase.probes.interventions.bench import Bench
from critical_phase.probes.interventions.edits import Site, change

Translator = Callable[[Tensor], Tensor]
"""Brings a state after one block to where the last block's states lie."""


class Lens:
    """Skips all blocks after one."""

    def __init__(self, layer: int, translator: Translator | None = None) -> None:
        """Note the block (-1: the embedding), and what its states go through before the norm."""
        self._layer, self._translator = layer, translator
        self._state: Tensor | None = None

    def prepare(self, bench: Bench, batch: Batch) -> None:
        """Forget the batch before."""
        self._state = None

    def attached(self, bench: Bench) -> Hooks:
        """Keep the state after the block, and give it to the final norm."""
        last = bench.sites.layers - 1
        if self._layer == last:
            return change(bench.sites, {Site("resid", last): self._translated})
        wanted = {Site("resid", self._layer): self._keep, Site("resid", last): self._put}
        return change(bench.sites, wanted)

    def _keep(self, x: Tensor) -> None:
        self._state = x.detach()

    def _put(self, _: Tensor) -> Tensor:
        assert self._state is not None
        return self._translated(self._state)

    def _translated(self, x: Tensor) -> Tensor:
        return x if self._translator is None else self._translator(x)
