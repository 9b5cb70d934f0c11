"""What attention heads give, in every family, and how the margin depends on each of them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from collector_reference import gates_of, logprob, projection, tokens_of
from naive_reference import fresh_model, read_rows
from tiny_architectures import tiny_architecture
from tiny_families import CONFIGS, build_model
from tiny_plan import build_plan, build_questions, build_tokenizer, save_lora
from torch import nn

from critical_phase.checkpoints import PROMPTS
from critical_phase.errors import CheckpointError
from critical_phase.probes import (
    CollectSettings,
    Hook,
    Hooks,
    Plan,
    check_sites,
    make_plan,
    resolve,
)
from critical_phase.probes.head_output import head_products
from critical_phase.probes.head_site import HOOK_NAME, prove_heads
from critical_phase.probes.instrument import Instrument, prepare
from critical_phase.probes.sites import Sites, need

HEADS = 4
INPUTS = {"input_ids": torch.tensor([[3, 5, 9, 7, 12, 4]]), "use_cache": False}
# Written by hand, so that a wrong site of ours cannot hide: blocks, what makes values, what
# takes the heads, and which of the first one's outputs are values.
_LLAMA = ("model.layers", "self_attn.v_proj", "self_attn.o_proj", slice(None))
_PHI3 = ("model.layers", "self_attn.qkv_proj", "self_attn.o_proj", slice(-16, None))
_NEOX = [32 // HEADS * (3 * h + 2) + i for h in range(HEADS) for i in range(32 // HEADS)]
PATHS: dict[str, tuple[str, str, str, Any]] = {
    "gpt2": ("transformer.h", "attn.c_attn", "attn.c_proj", slice(64, None)),
    "gpt_neo": (
        "transformer.h", "attn.attention.v_proj", "attn.attention.out_proj", slice(None),
    ),
    "gpt_neox": ("gpt_neox.layers", "attention.query_key_value", "attention.dense", _NEOX),
    "opt": ("model.decoder.layers", "self_attn.v_proj", "self_attn.out_proj", slice(None)),
    "phi": ("model.layers", "self_attn.v_proj", "self_attn.dense", slice(None)),
    "phi3": _PHI3,
    "phi3_window": _PHI3,
}  # fmt: skip


def proved(model: Any, found: Sites | None = None) -> Sites:
    return prove_heads(model, found or check_sites(model, resolve(model), INPUTS), INPUTS, HEADS)


def expected_norms(family: str, plan: Plan) -> np.ndarray:
    """Both norms at the end of each answer, from eager weights and the values themselves."""
    model = fresh_model(family, None)
    blocks, into, out, chosen = PATHS.get(family, _LLAMA)
    patterns = [row.attention for row in read_rows(model, plan)]
    layers = list(model.get_submodule(blocks))
    values: list[torch.Tensor] = []
    hooks = [Hook(layer.get_submodule(into), "output", values.append) for layer in layers]
    found = np.zeros((2, len(layers), plan.rows, HEADS))
    for row in range(plan.rows):
        values.clear()
        with torch.no_grad(), Hooks(hooks):
            model(input_ids=tokens_of(plan, row))
        for i, layer in enumerate(layers):
            made = values[i][0].double().numpy()[:, chosen]
            made = made.reshape(len(made), -1, 8).repeat(HEADS // (made.shape[1] // 8), axis=1)
            z = np.einsum("hk,khd->hd", patterns[row][i][:, -1], made)
            part = projection(layer.get_submodule(out)).reshape(HEADS, 8, -1)
            found[0, i, row] = np.linalg.norm(z, axis=-1)
            found[1, i, row] = np.linalg.norm(np.einsum("hd,hde->he", z, part), axis=-1)
    return found


@pytest.mark.parametrize("family", CONFIGS)
def test_norms_are_those_of_weighted_values_in_every_family(family: str) -> None:
    plan = make_plan(build_questions()[:2], build_tokenizer(), PROMPTS["cloze"])
    settings = CollectSettings(("head_output",))
    instrument = prepare(build_model(family), plan, settings)
    instrument.measure()
    for name, theirs in zip(
        ("head_output_norm", "head_write_norm"), expected_norms(family, plan), strict=True
    ):
        ours = instrument.arrays[name][:, :, 1].numpy()
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * max(1.0, theirs.max()))


@pytest.mark.parametrize("adapter", [{}, {"use_dora": True}, {"bias": "all"}])
def test_a_projection_with_an_adapter_beside_it_is_taken_as_it_acts(
    adapter: dict[str, Any], make_model: Callable[..., Any], tmp_path: Path
) -> None:
    point = save_lora(tmp_path, make_model("gpt2"), ["c_proj"], fan=True, **adapter)[0]
    module = fresh_model("gpt2", point.path).transformer.h[1].attn.c_proj
    z = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    products = head_products(module, HEADS, z)
    for head in range(HEADS):
        one = torch.zeros(5, HEADS, 8)
        one[:, head] = z.unflatten(1, (HEADS, 8))[:, head]
        written = module(one.flatten(1)[None])[0] - module(torch.zeros(1, 1, 32))[0]
        own = one[:, head]
        norms = torch.einsum("nd,de,ne->n", own, products[head], own).sqrt()
        torch.testing.assert_close(norms, written.norm(dim=1), rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def read() -> Instrument:
    instrument = prepare(
        build_model("gpt2").double(), build_plan(), CollectSettings(("head_importance",))
    )
    instrument.measure()
    return instrument


def test_importance_is_the_slope_of_the_margin_along_a_real_gate(read: Instrument) -> None:
    """Finite differences in float64, of the two rows that decide the margin, one at a time."""
    plan, model = read.scene.plan, build_model("gpt2").double()
    gates, step = gates_of(model, "gpt2"), 1e-6
    values = read.arrays["head_importance"]
    with torch.no_grad():
        for question in (0, 3):
            rows = list(plan.rows_of[question])
            scores = [float(score(model, plan, row)) for row in rows]
            right = next(i for i, row in enumerate(rows) if plan.correct[row])
            wrong = max((i for i in range(len(rows)) if i != right), key=lambda i: scores[i])
            for block, head in ((0, 1), (1, 3), (2, 0)):
                slope = 0.0
                for way in (step, -step):
                    gates[block][head] = 1 + way
                    gap = score(model, plan, rows[right]) - score(model, plan, rows[wrong])
                    slope += float(gap) / (2 * way)
                gates[block][head] = 1
                found = values[block, rows, head].tolist()
                assert found == pytest.approx([slope] * len(rows), rel=1e-4, abs=1e-6)


def score(model: Any, plan: Plan, row: int) -> torch.Tensor:
    return logprob(model(input_ids=tokens_of(plan, row)).logits[0], plan, row)


def test_only_the_head_that_carries_the_margin_has_importance(plan: Plan) -> None:
    """All heads but one are cut off after the projection; gates on the others do nothing."""
    model = build_model("llama")
    with torch.no_grad():
        for i, layer in enumerate(model.model.layers):
            kept = layer.self_attn.o_proj.weight[:, 16:24].clone()
            layer.self_attn.o_proj.weight.zero_()
            if i == 1:
                layer.self_attn.o_proj.weight[:, 16:24] = kept
    instrument = prepare(model, plan, CollectSettings(("head_importance", "head_output")))
    instrument.measure()
    size = instrument.arrays["head_importance"].abs().amax(dim=1)
    assert float(size[1, 2]) > 1e-2
    size[1, 2] = 0
    assert not size.any()
    write = instrument.arrays["head_write_norm"].amax(dim=(1, 2))
    assert (write > 0).nonzero().tolist() == [[1, 2]]
    assert bool((instrument.arrays["head_output_norm"] > 0).all())


def test_gates_leave_scores_and_the_model_as_they_were(read: Instrument) -> None:
    parameters = list(read.scene.model.parameters())
    assert all(p.requires_grad and p.grad is None for p in parameters)
    alone = prepare(build_model("gpt2").double(), read.scene.plan, CollectSettings(("residual",)))
    np.testing.assert_array_equal(alone.measure().logprob_sum, read.measure().logprob_sum)


def test_a_second_pass_with_other_scores_is_an_error(read: Instrument) -> None:
    scores = read.measure()
    wrong = replace(scores, logprob_sum=scores.logprob_sum + 1)
    with pytest.raises(CheckpointError, match=r"other scores(.|\n)*without head_importance"):
        read.collectors[0].second_pass(read.packer, wrong, read.arrays)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("architecture", "why"),
    [
        ("BitNetForCausalLM", "its heads are not sums of their own weighted values"),
        ("FalconForCausalLM", "cannot change its attention"),
        ("Lfm2MoeForCausalLM", "only blocks 1 of 3 have it"),
        ("MambaForCausalLM", "no module of a known name"),
    ],
)
def test_a_family_whose_heads_cannot_be_told_apart_is_refused_with_the_reason(
    architecture: str, why: str, plan: Plan
) -> None:
    model = tiny_architecture(architecture)
    found = proved(model)
    assert why in found.missing[HOOK_NAME]
    with pytest.raises(CheckpointError, match=rf"no {HOOK_NAME}: .*{why}".replace("{", r"\{")):
        prepare(model, plan, CollectSettings(("head_output",)))


class Shuffled(nn.Module):
    """An output projection that takes its input in another order: its heads lie elsewhere."""

    def __init__(self, inner: nn.Module, order: Sequence[int]) -> None:
        super().__init__()
        self.inner, self.order = inner, list(order)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.inner(x[..., self.order])
        return made


@pytest.mark.parametrize("kind", ["heads in another order", "interleaved"])
def test_the_proof_sees_heads_that_lie_elsewhere(kind: str) -> None:
    order = torch.arange(32).reshape(HEADS, 8)
    order = order[[1, 0, 2, 3]] if kind.startswith("heads") else order.T
    model = build_model("llama")
    found = check_sites(model, resolve(model), INPUTS)
    assert proved(model, found).attention_out == found.attention_out
    for layer in model.model.layers:
        layer.self_attn.o_proj = Shuffled(layer.self_attn.o_proj, order.flatten().tolist())
    inside = tuple(layer.self_attn.o_proj.inner for layer in model.model.layers)
    wrong = proved(model, replace(found, attention_out=inside))
    assert wrong.attention_out == ()
    assert "block 0: its heads are not sums" in wrong.missing[HOOK_NAME]


def test_a_module_that_is_no_output_projection_is_left_out() -> None:
    model = build_model("llama")
    found = check_sites(model, resolve(model), INPUTS)
    other = tuple(layer.self_attn.q_proj for layer in model.model.layers)
    wrong = proved(model, replace(found, attention_out=other))
    assert "does not give what its output projection makes" in wrong.missing[HOOK_NAME]
    with pytest.raises(CheckpointError, match=r"no blocks\.\{block\}\.attn\.hook_z"):
        need(model, wrong, "attention_out")
