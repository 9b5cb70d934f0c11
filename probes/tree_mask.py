"""Who sees whom in a packed row: the candidates see their question, and not each other."""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

OWN_QUESTION = 0
PADDING = -1


def tree_mask(
    segment: Int[Tensor, "line slot"],
    places: Int[Tensor, "line slot"],
    config: Any,
    dtype: torch.dtype,
    shared: int,
) -> Any:
    """Build the additive mask(s): the question and oneself, causally, window by position.

    Args:
        segment: What each slot belongs to: `OWN_QUESTION`, a candidate (from 1), `PADDING`.
        places: Position of each slot in its own row, without what a `Stem` supplies.
        config: Of the language model.
        dtype: Of the model.
        shared: Tokens before the first slot that a `Stem` supplies.

    Returns:
        One mask, or one by kind of layer where layers differ.
    """
    stem = torch.arange(shared, device=places.device).expand(len(places), -1)
    key = torch.cat([torch.full_like(stem, OWN_QUESTION), segment], dim=1)[:, None, :]
    distance = places[:, :, None] - torch.cat([stem, places], dim=1)[:, None, :]
    query = segment[:, :, None]
    seen = ((key == OWN_QUESTION) | (key == query)) & (distance >= 0)
    seen[:, :, 0] |= segment == PADDING  # padding reads something, so no row is all minus infinity
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ())
    if "sliding_attention" in kinds:
        return {
            "full_attention": _additive(seen, dtype),
            "sliding_attention": _additive(_windowed(seen, distance, window), dtype),
        }
    if window and not kinds:
        seen = _windowed(seen, distance, window)
    return _additive(seen, dtype)


def _windowed(seen: Tensor, distance: Tensor, window: int | None) -> Tensor:
    if not window:
        return seen
    near = seen & (distance < window)
    near[:, :, 0] |= ~near.any(dim=-1)
    return near


def _additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return mask.masked_fill_(~seen, torch.finfo(dtype).min)[:, None]
