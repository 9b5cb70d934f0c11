"""Hooks come off whatever happens."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from critical_phase.probes import CollectSettings, Plan
from critical_phase.probes.attention_row import _READERS, reading
from critical_phase.probes.forward import attached
from critical_phase.probes.hooks import Hook, Hooks, count_hooks
from critical_phase.probes.instrument import prepare

SIDES = ("input", "output")


def test_no_hook_is_left_when_the_block_raises() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    hooks = Hooks([Hook(layer, side, lambda x: None) for layer in model for side in SIDES])

    def inside() -> None:
        with hooks:
            assert count_hooks(model) == 4
            raise KeyError("planted")

    with pytest.raises(KeyError):
        inside()
    assert count_hooks(model) == 0


def test_no_hook_is_left_when_the_forward_pass_raises(
    plan: Plan, make_model: Callable[..., Any]
) -> None:
    model = make_model("llama")
    instrument = prepare(model, plan, CollectSettings())
    clean = count_hooks(model)
    instrument.scene.sites.blocks[1].register_forward_hook(_fail)
    with pytest.raises(ArithmeticError, match="planted"):
        instrument.measure()
    assert count_hooks(model) == clean + 1
    assert not _READERS
    assert model.config._attn_implementation == "sdpa"


def _fail(*_: Any) -> None:
    raise ArithmeticError("planted")


def test_a_second_entry_is_refused() -> None:
    layer = nn.Linear(2, 2)
    hooks = Hooks([Hook(layer, "input", lambda x: None)])
    with hooks, pytest.raises(RuntimeError, match="already attached"), hooks:
        pass
    assert count_hooks(layer) == 0
    with hooks:
        assert count_hooks(layer) == 1


def test_a_model_is_read_by_one_reader_at_a_time(make_model: Callable[..., Any]) -> None:
    model = make_model("llama")
    readers = {model.model.layers[0].self_attn: lambda *_: None}
    with reading(model, readers):
        with pytest.raises(RuntimeError, match="already being read"), reading(model, readers):
            pass
        assert model.config._attn_implementation == "critical_phase_row"
    assert model.config._attn_implementation == "sdpa"


def test_an_input_hook_may_replace_what_it_reads() -> None:
    layer = nn.Linear(2, 2, bias=False)
    with Hooks([Hook(layer, "input", lambda x: x * 0)]):
        assert not layer(torch.ones(1, 2)).any()
    assert layer(torch.ones(1, 2)).any()


def test_a_failing_attachment_leaves_nothing(plan: Plan, make_model: Callable[..., Any]) -> None:
    model = make_model("llama")

    class Broken:
        def attached(self) -> Any:
            raise OSError("planted")

        def start(self, batch: Any) -> None:
            pass

    class Fine(Broken):
        def attached(self) -> Any:
            return Hooks([Hook(model.model.norm, "input", lambda x: None)])

    clean = count_hooks(model)
    with pytest.raises(OSError, match="planted"), attached([Fine(), Broken()]):
        pass
    assert count_hooks(model) == clean
