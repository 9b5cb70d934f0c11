"""Read a model in the middle of its training and give it back exactly as it was."""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn


@contextlib.contextmanager
def held_still(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, without gradients, for the length of a block.

    Afterwards, also when the block raised, these are what they were before: the mode of
    every module on its own (an adapter may train on a base that does not), the gradient
    and the requires_grad flag of every parameter, the config objects, and the random
    numbers of Python, numpy and torch on the CPU and on every CUDA device. Weights and
    optimizer are not the block's to touch.

    Args:
        model: The outermost module whose parameters are trained.
    """
    modules = [(module, module.training, _config(module)) for module in model.modules()]
    parameters = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    with _same_random_numbers(), torch.no_grad():
        try:
            model.eval()
            for parameter, _, _ in parameters:
                # Taken off rather than copied: what the block adds up lands elsewhere.
                parameter.grad = None
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter, wanted, gradient in parameters:
                parameter.requires_grad_(wanted)
                parameter.grad = gradient
            for module, training, config in modules:
                module.training = training
                if config is not None:
                    module.config = config


@contextlib.contextmanager
def _same_random_numbers() -> Iterator[None]:
    """Let what a block draws leave no trace in any generator that others share."""
    python, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002
    cpu = torch.get_rng_state()
    used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    cuda = torch.cuda.get_rng_state_all() if used else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)  # noqa: NPY002
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)


def _config(module: nn.Module) -> Any:
    """Return the config that a module holds itself; attributes of what it wraps are not its own."""
    return vars(module).get("config")
