"""The last MLP runs on the tokens that are read, wherever that gives the same values."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_families import CONFIGS, build_model
from torch import Tensor, nn

from critical_phase.probes import CollectSettings, Plan
from critical_phase.probes.instrument import Instrument, prepare
from critical_phase.probes.layout import gate_questions
from critical_phase.probes.positions import read_slots

ALL = CollectSettings(
    ("residual", "sparsity", "residual_sparsity"),
    positions=("question_end", "answer_end", "answer_mean"),
)
WHOLE = ("opt",)
"""Families whose MLP is no module of its own."""


@pytest.mark.parametrize("family", CONFIGS)
def test_values_are_those_of_all_tokens(family: str, plan: Plan) -> None:
    instrument = prepare(build_model(family), plan, ALL)
    assert (instrument.scene.last_mlp is None) == (family in WHOLE), (
        instrument.scene.last_mlp_reason
    )
    some, scores = _measure(instrument)
    every, reference = _measure(_on_all(instrument))
    for name, value in every.items():
        torch.testing.assert_close(some[name], value, rtol=1e-4, atol=1e-5, msg=name)
    torch.testing.assert_close(scores, reference, rtol=1e-5, atol=1e-5)


def test_fewer_tokens_go_through(plan: Plan, make_model: Callable[..., Any]) -> None:
    instrument = prepare(make_model("llama"), plan, ALL)
    seen: list[int] = []
    mlps = [layer.mlp for layer in instrument.scene.model.model.layers]  # type: ignore[union-attr]
    for mlp in mlps:
        mlp.up_proj.register_forward_pre_hook(
            lambda _, args: seen.append(args[0].shape[:-1].numel())
        )
    instrument.measure()
    batches = list(instrument.packer)
    assert seen[len(mlps) - 1 :: len(mlps)] == [len(batch.read_slots) for batch in batches]
    slots = [batch.inputs["input_ids"].numel() for batch in batches]
    assert seen[:: len(mlps)] == slots
    assert sum(seen[len(mlps) - 1 :: len(mlps)]) < 0.8 * sum(slots)


@pytest.mark.parametrize(("shift", "used"), [(0.0, True), (0.5, False)])
def test_an_mlp_that_looks_at_neighbours_keeps_all_tokens(
    shift: float, used: bool, plan: Plan, make_model: Callable[..., Any]
) -> None:
    model = make_model("llama")
    _alter(model, lambda inner: _Shifted(inner, shift))
    scene = prepare(model, plan, CollectSettings(("residual",), layout="naive")).scene
    assert (scene.last_mlp is not None) == used
    said = "tokens that are read: " if used else "all tokens: with and without the others"
    assert scene.last_mlp_reason.startswith(said)


def test_an_mlp_that_raises_keeps_all_tokens(plan: Plan, make_model: Callable[..., Any]) -> None:
    model = make_model("llama")
    _alter(model, _OneLine)
    scene = prepare(model, plan, CollectSettings(("residual",))).scene
    assert scene.last_mlp_reason == "all tokens: some alone raise ValueError"


def test_a_token_that_was_left_out_cannot_be_read(
    plan: Plan, make_model: Callable[..., Any]
) -> None:
    instrument = prepare(make_model("llama"), plan, ALL)
    batch = instrument.packer.only(gate_questions(plan))
    first = torch.zeros_like(batch.owner)
    assert int(batch.among[0]) == -1
    some = torch.ones(1, len(batch.read_slots), 3)
    with pytest.raises(IndexError):
        read_slots(some, batch, batch.owner, first, batch.among)


def test_what_was_left_out_is_nan(plan: Plan, make_model: Callable[..., Any]) -> None:
    instrument = prepare(make_model("llama"), plan, ALL)
    states: list[Tensor] = []
    norm = instrument.scene.sites.final_norm
    norm.register_forward_pre_hook(lambda _, args: states.append(args[0].isnan().any(-1)))
    instrument.measure()
    for missing, batch in zip(states, instrument.packer, strict=True):
        kept = torch.zeros(missing.numel(), dtype=torch.bool)
        kept[batch.read_slots] = True
        assert torch.equal(missing.reshape(-1), ~kept)


def _measure(instrument: Instrument) -> tuple[dict[str, Tensor], Tensor]:
    scores = torch.from_numpy(instrument.measure().logprob_sum)
    return {name: value.clone() for name, value in instrument.arrays.items()}, scores


def _on_all(instrument: Instrument) -> Instrument:
    """Let the last MLP run on all tokens."""
    return replace(instrument, scene=replace(instrument.scene, last_mlp=None))


def _alter(model: Any, wrap: Callable[[nn.Module], nn.Module]) -> None:
    layer = model.model.layers[-1]
    layer.mlp = wrap(layer.mlp)


class _Shifted(nn.Module):
    """An MLP whose tokens get a share of the token before, as some families shift them."""

    def __init__(self, inner: Any, share: float) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = (
            inner.gate_proj,
            inner.up_proj,
            inner.down_proj,
        )
        self.inner, self.share = inner, share

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x + self.share * x.roll(1, dims=1))  # type: ignore[no-any-return]


class _OneLine(_Shifted):
    """An MLP that refuses a single line once it saw several."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner, 0.0)
        self.several = False

    def forward(self, x: Tensor) -> Tensor:
        if self.several and len(x) == 1:
            raise ValueError("one line is too few")
        self.several = len(x) > 1
        return super().forward(x)
