"""Read attention weights while the model goes on using its fast kernel.

The model is given an attention function that calls sdpa and then works out the softmax
for the few queries that are read, from the mask that the model itself passed in.
A rebuilt mask would let sibling candidates in and forget sliding windows.
"""

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

# "sdpa" and "flash" inside a name make transformers check the model for those kernels.
IMPLEMENTATION = "critical_phase_row"

Reader = Callable[[Tensor, Tensor, Tensor | None, float], None]
"""Gets queries [line, head, slot, d], keys, the mask that was used, and the scaling."""

_READERS: dict[int, Reader] = {}


@contextlib.contextmanager
def reading(model: Any, readers: dict[nn.Module, Reader]) -> Iterator[None]:
    """Run a model with one reader per attention module for the length of a block.

    Raises:
        RuntimeError: One of the modules is being read already.
    """
    keys = {id(module): reader for module, reader in readers.items()}
    if keys.keys() & _READERS.keys():
        raise RuntimeError("this model's attention is already being read; leave that block before")
    _register()
    with implementation(model, IMPLEMENTATION):
        _READERS.update(keys)
        try:
            yield
        finally:
            for key in keys:
                _READERS.pop(key, None)


def keep_readable(model: Any) -> None:
    """Leave a model with our attention function for good, which is sdpa while nobody reads.

    Changing it walks over all modules, which costs more than reading a small checkpoint.

    Raises:
        ValueError: The family has its implementation fixed, and it is another one.
    """
    _register()
    if not model._can_set_attn_implementation():
        raise ValueError(f"{type(model).__name__} cannot change its attention")
    model.set_attn_implementation(IMPLEMENTATION)


def _register() -> None:
    AttentionInterface.register(IMPLEMENTATION, _attend)
    # Without a mask function under the same name there is no padding mask, silently.
    AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)


@contextlib.contextmanager
def implementation(model: Any, name: str) -> Iterator[None]:
    """Use another attention implementation for the length of a block.

    Raises:
        ValueError: The family has its implementation fixed, and it is another one.
    """
    before = model.config._attn_implementation
    if before == name:
        yield
        return
    if not model._can_set_attn_implementation():
        raise ValueError(f"{type(model).__name__} cannot change its attention")
    try:
        model.set_attn_implementation(name)
        yield
    finally:
        model.set_attn_implementation(before)


def own_config(model: Any) -> None:
    """Give a model a config of its own: models that share one share its attention too."""
    shared = model.config
    fresh = copy.deepcopy(shared)
    for module in model.modules():
        if getattr(module, "config", None) is shared:
            module.config = fresh


def query_rows(query: Tensor, key: Tensor, seen: Tensor, scaling: float, slots: Tensor) -> Tensor:
    """Work out attention weights of a few queries per line in float32.

    Args:
        query: Queries [line, attention_head, slot, d].
        key: Keys [line, key_head, slot, d]; key heads may be shared.
        seen: What to add to the scores of these queries; see `seen_rows`.
        scaling: Factor on the dot products.
        slots: Queries to work out [line, read].

    Returns:
        Weights [line, attention_head, read, slot], each row summing to 1.
    """
    lines, heads, _, width = query.shape
    key_heads, length = key.shape[1], key.shape[2]
    index = slots[:, None, :, None].expand(lines, heads, slots.shape[1], width)
    chosen = query.gather(2, index)
    grouped = chosen.reshape(lines, key_heads, -1, width)  # heads of one group are neighbours
    scores = _products(grouped, key).float() * scaling
    scores = scores.reshape(lines, heads, slots.shape[1], length)
    return torch.softmax(scores + seen[..., :length], dim=-1)


def _products(query: Tensor, key: Tensor) -> Tensor:
    """Multiply queries with keys; on a CPU line by line, since all at once copies the keys."""
    if key.device.type != "cpu":
        return torch.matmul(query, key.transpose(2, 3))
    found = query.new_empty(*query.shape[:3], key.shape[2])
    for line, own, into in zip(query, key, found, strict=True):
        torch.bmm(line, own.transpose(1, 2), out=into)
    return found


def seen_rows(mask: Tensor | None, slots: Tensor, length: int) -> Tensor:
    """Take what a mask adds to the scores of a few queries per line, in float32.

    Args:
        mask: What the kernel got: additive or boolean, or None for causal.
        slots: Queries [line, read].
        length: Slots that there are.

    Returns:
        0 or minus infinity, or what the mask itself adds [line, 1 or head, read, slot].
    """
    if mask is None:
        places = torch.arange(length, device=slots.device)
        return _forbidden((places > slots[:, :, None])[:, None])
    lines = torch.arange(len(slots), device=slots.device)[:, None]
    # [line, 1 or head, query, slot] -> the rows of the read queries
    rows = mask.expand(len(slots), *mask.shape[1:]).transpose(1, 2)[lines, slots].transpose(1, 2)
    return _forbidden(~rows) if rows.dtype == torch.bool else rows.float()


def _forbidden(places: Tensor) -> Tensor:
    return torch.zeros(places.shape, device=places.device).masked_fill_(places, float("-inf"))


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **settings: Any,
) -> tuple[Tensor, None]:
    result: tuple[Tensor, None] = sdpa_attention_forward(
        module, query, key, value, attention_mask, **settings
    )
    reader = _READERS.get(id(module))
    if reader is not None:
        scaling = settings.get("scaling")
        reader(query, key, attention_mask, scaling or query.shape[-1] ** -0.5)
    return result
