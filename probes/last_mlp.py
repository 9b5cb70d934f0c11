"""Run the MLP of the last block on the tokens that are read, and on no others.

After the last block's attention nothing goes from one token to another, so what its MLP
makes of a token that nobody reads is not needed: of four candidates and their question
that is about half of the tokens. What was left out is NaN, never a number to be mistaken.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from critical_phase.probes.batches import Batch
from critical_phase.probes.hooks import Hook, Hooks
from critical_phase.probes.sites import Sites

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest difference over largest value: products of another shape round otherwise."""
_REFUSALS = (RuntimeError, ValueError, IndexError, TypeError)
"""What MLPs raise that take a second tensor or look at neighbours."""


class LastMlp:
    """Cuts the input of one module down to the slots that a batch reads; widens its output."""

    def __init__(self, module: nn.Module) -> None:
        """Note the module; nothing is attached yet."""
        self.hooks = (Hook(module, "input", self._cut), Hook(module, "output", self._widen))
        self._batch: Batch | None = None
        self._shape: tuple[int, ...] | None = None

    def start(self, batch: Batch | None) -> None:
        """Keep the slots of this batch next; without one the module runs on all of them."""
        self._batch, self._shape = batch, None

    @property
    def among(self) -> Tensor | None:
        """Where each slot is while the module runs on some of them; None at other times."""
        inside = self._shape is not None and self._batch is not None
        return self._batch.among if inside and self._batch else None

    def _cut(self, x: Tensor) -> Tensor | None:
        if self._batch is None:
            return None
        self._shape = tuple(x.shape[:-1])
        kept = x.reshape(-1, x.shape[-1]).index_select(0, self._batch.read_slots)
        return kept if x.dim() == 2 else kept[None]

    def _widen(self, made: Tensor) -> Tensor | None:
        shape, self._shape = self._shape, None
        if shape is None or self._batch is None:
            return None
        width = made.shape[-1]
        whole = made.new_full((math.prod(shape), width), float("nan"))
        whole.index_copy_(0, self._batch.read_slots, made.reshape(-1, width))
        return whole.reshape(*shape, width)


@dataclass(frozen=True, slots=True)
class LastMlpChoice:
    """Whether the last MLP runs on some slots, and why."""

    last_mlp: LastMlp | None
    reason: str
    """One sentence for the file."""


@torch.no_grad()
def choose_last_mlp(
    model: Any, sites: Sites, batch: Batch, call: Callable[[], object]
) -> LastMlpChoice:
    """Compare what the last block gives at the slots that are read, both ways.

    Args:
        model: The causal language model, holding the base.
        sites: Of the model.
        batch: The longest and the shortest question.
        call: Sends the batch through the model.

    Returns:
        What cuts the slots down; without it where the family has no module for its MLP, or
        one that does not take tokens one by one.
    """
    path = sites.paths.get(f"blocks.{sites.layers - 1}.mlp")
    if path is None:
        return LastMlpChoice(None, "all tokens: the last block has no module for its MLP")
    found = LastMlp(model.get_submodule(path))
    whole = _read(sites, batch, call, None)
    try:
        part = _read(sites, batch, call, found)
    except _REFUSALS as error:
        return LastMlpChoice(None, f"all tokens: some alone raise {type(error).__name__}")
    gap = float((part - whole).abs().max() / whole.abs().max().clamp(min=1e-6))
    limit = TOLERANCES.get(model.dtype, 1e-5)
    said = f"with and without the others they differ by {gap:.1e} (limit {limit:.0e})"
    if not gap <= limit:  # NaN is no agreement
        return LastMlpChoice(None, f"all tokens: {said}")
    return LastMlpChoice(found, f"tokens that are read: {said}")


def _read(sites: Sites, batch: Batch, call: Callable[[], object], last: LastMlp | None) -> Tensor:
    """Return what comes out of the last block at the slots that are read [slot, d]."""
    kept: list[Tensor] = []

    def keep(x: Tensor) -> None:
        kept.append(x.reshape(-1, x.shape[-1]).index_select(0, batch.read_slots).float())

    hooks = [Hook(sites.final_norm, "input", keep)]
    if last is not None:
        last.start(batch)
        hooks += last.hooks
    with Hooks(hooks):
        call()
    return kept[0]
