"""Prompts of unequal lengths in one batch: padding on the left, positions that ignore it."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from critical_phase.errors import ConfigError

Prompt = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Padded:
    """A batch whose lines all end at the last slot."""

    ids: Int[Tensor, "line slot"]
    """Token ids; padding is any token, since nothing looks at it."""
    mask: Int[Tensor, "line slot"]
    """1 for tokens, 0 for padding."""

    @property
    def positions(self) -> Int[Tensor, "line slot"]:
        """Number of every token in its own line, from 0; padding has 0."""
        return (self.mask.cumsum(-1) - 1).clamp(min=0)


def pad_left(prompts: Sequence[Prompt], device: Any) -> Padded:
    """Put prompts under each other, their ends aligned."""
    width = max(map(len, prompts))
    ids = torch.zeros((len(prompts), width), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for line, prompt in enumerate(prompts):
        ids[line, width - len(prompt) :] = torch.tensor(prompt)
        mask[line, width - len(prompt) :] = 1
    return Padded(ids.to(device), mask.to(device))


def accepted(model: Any, **inputs: Any) -> dict[str, Any]:
    """Keep the inputs that the model's forward knows; others tell it nothing it needs.

    A family without `position_ids` counts positions from the mask itself; that this is so, the
    gate of `prove_padding` shows.
    """
    known = inspect.signature(model.forward).parameters
    return {name: value for name, value in inputs.items() if name in known}


def batches(lengths: Sequence[int], *, models: int, new: int, slots: int) -> list[list[int]]:
    """Group lines of like length, each batch with at most so many slots in all models.

    Args:
        lengths: Tokens of every prompt.
        models: That run side by side.
        new: Tokens that may be added to every line.
        slots: Most slots of one batch; one line is never cut.
    """
    made: list[list[int]] = []
    for line in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        most = slots // (models * (lengths[line] + new))
        if made and len(made[-1]) < most:
            made[-1].append(line)
        else:
            made.append([line])
    return made


def check_room(lengths: Sequence[int], new: int, positions: int | None) -> None:
    """Refuse answers for which the model has no positions left.

    Raises:
        ConfigError: The longest prompt and its answer do not fit.
    """
    longest = max(lengths)
    if positions is not None and longest + new > positions:
        raise ConfigError(
            f"the longest prompt has {longest} tokens and {new} may follow, but the model reads "
            f"at most {positions}",
            fix=f"give --max-new-tokens at most {positions - longest}"
            if positions > longest
            else "leave long questions out",
        )
