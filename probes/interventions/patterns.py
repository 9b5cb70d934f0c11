"""Attention patterns of one state in the model of another, through the family's own eager code.

The model is given an attention function that works out weights as its family does (softcaps and
sinks included), keeps them, or uses kept ones in their place: output = kept weights x own values.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from critical_phase.errors import CheckpointError
from critical_phase.probes.attention_row import implementation
from critical_phase.probes.batches import Batch
from critical_phase.probes.interventions.bench import Bench
from critical_phase.probes.interventions.slot_kinds import chosen_slots
from critical_phase.probes.interventions.update import State

IMPLEMENTATION = "critical_phase_pattern"
Heads = Mapping[int, tuple[int, ...]]
"""Attention heads by block."""
Given = Callable[[Tensor], Tensor]
"""Makes the patterns that are used of the model's own [line, attention_head, query, key]."""


class _Held:
    """What one block keeps, or is given."""

    def __init__(self, given: Given | None = None, heads: tuple[int, ...] = ()) -> None:
        self.kept: Tensor | None = None
        self.given, self.heads = given, heads
        self.where: Tensor | None = None


_HELD: dict[int, _Held] = {}


class Patterns:
    """Puts a donor's attention patterns into the model that is run."""

    def __init__(self, donor: State, heads: Heads, position: str = "all") -> None:
        """Note what comes from where.

        Args:
            donor: State whose patterns are taken.
            heads: Which attention heads.
            position: Of `KINDS`: queries whose rows are taken.
        """
        self._donor, self._heads, self._position = donor, dict(heads), position
        self._patterns: dict[int, Tensor] = {}
        self._where: Tensor | None = None

    def prepare(self, bench: Bench, batch: Batch) -> None:
        """Read the donor's patterns of this batch."""
        with bench.under(self._donor):
            self._patterns = read_patterns(bench, batch, tuple(self._heads))
        self._where = chosen_slots(bench.kinds(batch), self._position)

    @contextlib.contextmanager
    def attached(self, bench: Bench) -> Iterator[None]:
        """Use the donor's patterns for the length of a block."""
        held = {}
        for block, heads in self._heads.items():
            held[block] = _Held(self._given(block), heads)
            held[block].where = self._where
        with _running(bench, held):
            yield

    def _given(self, block: int) -> Given:
        """Return what makes the patterns of a block: the donor's, whatever the model's own are."""
        return lambda own: self._patterns[block].to(own)


@torch.no_grad()
def read_patterns(bench: Bench, batch: Batch, blocks: tuple[int, ...]) -> dict[int, Tensor]:
    """Return whole attention patterns [line, attention_head, query, key] of some blocks.

    Raises:
        CheckpointError: The family does not let its attention be read in this way.
    """
    held = {block: _Held() for block in blocks}
    with _running(bench, held):
        bench.run(batch)
    found = {block: one.kept for block, one in held.items() if one.kept is not None}
    if len(found) < len(held):
        raise CheckpointError(
            f"the attention of block {min(set(held) - set(found))} of this"
            f" {type(bench.model).__name__} was not read: it did not call our function",
            fix="use plans that leave attention patterns alone",
        )
    return found


@contextlib.contextmanager
def _running(bench: Bench, held: Mapping[int, _Held]) -> Iterator[None]:
    AttentionInterface.register(IMPLEMENTATION, _attend)
    AttentionMaskInterface.register(IMPLEMENTATION, eager_mask)
    keys = {id(bench.sites.attention[block]): one for block, one in held.items()}
    try:
        with implementation(bench.model, IMPLEMENTATION):
            _HELD.update(keys)
            yield
    except ValueError as error:
        raise CheckpointError(
            f"a {type(bench.model).__name__} cannot change its attention: {error}",
            fix="use plans that leave attention patterns alone",
        ) from error
    finally:
        for key in keys:
            _HELD.pop(key, None)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **settings: Any,
) -> tuple[Tensor, Tensor | None]:
    """Run the family's eager attention, and hand out or take in its weights."""
    own = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    if own is None:
        raise ValueError(f"{type(module).__name__} has no eager attention of its own to call")
    output, weights = own(module, query, key, value, attention_mask, **settings)
    held = _HELD.get(id(module))
    if held is None:
        return output, weights
    held.kept = weights
    if held.given is not None:
        output = _with_given(held, weights, value, output)
    return output, weights


def _with_given(held: _Held, weights: Tensor, value: Tensor, output: Tensor) -> Tensor:
    """Work the chosen heads and queries out anew from the given patterns.

    Args:
        held: The patterns, the heads and the queries [line, slot].
        weights: The model's own [line, attention_head, query, key].
        value: Values [line, key_head, key, d].
        output: What the model made of them [line, query, attention_head, d].
    """
    assert held.given is not None
    assert held.where is not None
    heads = torch.tensor(held.heads, device=value.device)
    own = value.repeat_interleave(weights.shape[1] // value.shape[1], dim=1)[:, heads]
    made = (held.given(weights)[:, heads].to(own) @ own).transpose(1, 2)
    changed = output.clone()
    where = held.where[..., None, None]
    changed[:, :, heads] = torch.where(where, made, output[:, :, heads])
    return changed
