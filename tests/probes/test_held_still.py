"""A model that is read in the middle of its training notices nothing."""

import copy
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from critical_phase.probes.held_still import held_still


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.config = {"attention": "sdpa"}
        self.first, self.drop = nn.Linear(3, 3), nn.Dropout(0.5)
        self.frozen = nn.Linear(3, 1).requires_grad_(False)
        self.drop.eval()  # one module in another mode than its parent


@pytest.fixture
def model() -> Small:
    made = Small()
    made.first.weight.grad = torch.ones(3, 3)
    return made


def state(model: Small) -> dict[str, object]:
    flags = [(p.requires_grad, p.grad is None or p.grad.tolist()) for p in model.parameters()]
    drawn = copy.deepcopy((random.getstate(), np.random.get_state()[1].tolist()))  # type: ignore[index]  # noqa: NPY002
    modes = [module.training for module in model.modules()]
    return {
        "flags": flags,
        "modes": modes,
        "drawn": drawn,
        "torch": torch.get_rng_state().tolist(),
        "config": id(model.config),
        "gradient": id(model.first.weight.grad),
    }


def disturb(model: Small) -> None:
    model.train()
    model.config = {}
    random.random()
    np.random.rand()  # noqa: NPY002
    torch.rand(1)
    model.requires_grad_(True)
    with torch.enable_grad():
        model.first(torch.ones(1, 3)).sum().backward()
    model.frozen.weight.grad = torch.ones(1, 3)


def fail(model: Small) -> None:
    disturb(model)
    raise KeyboardInterrupt


@pytest.mark.parametrize("block", [disturb, fail])
def test_everything_is_as_it_was_after_a_block(
    block: Callable[[Small], None], model: Small
) -> None:
    before = state(model)
    try:
        with held_still(model):
            block(model)
    except KeyboardInterrupt:
        assert block is fail
    assert state(model) == before


def test_without_it_every_one_of_these_would_change(model: Small) -> None:
    before = state(model)
    disturb(model)
    after = state(model)
    assert [key for key in before if before[key] == after[key]] == ["gradient"]


def test_inside_nothing_is_drawn_kept_or_trained(model: Small) -> None:
    with held_still(model):
        assert not any(module.training for module in model.modules())
        assert not any(p.requires_grad or p.grad is not None for p in model.parameters())
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
