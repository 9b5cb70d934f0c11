"""Keep gradients away from a model's weights while others are taken."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def frozen(model: torch.nn.Module) -> Iterator[None]:
    """Keep gradients from the weights for the length of a block: they are not wanted."""
    moving = [p for p in model.parameters() if p.requires_grad]
    for parameter in moving:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in moving:
            parameter.requires_grad_(True)
