"""Places are found by name and proved by a forward pass."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_architectures import LAYERS, tiny_architecture
from torch import nn

from critical_phase.errors import CheckpointError, ConfigError
from critical_phase.probes import CollectSettings, Plan, check_sites, resolve, sites
from critical_phase.probes.hooks import Hook, Hooks, count_hooks
from critical_phase.probes.instrument import prepare
from critical_phase.probes.sites import need

INPUTS = {"input_ids": torch.tensor([[3, 5, 9, 7], [4, 8, 6, 5]]), "use_cache": False}
# Architecture -> who knows it, and which of attention, mid and mlp_out every block has.
FAMILIES = {
    "LlamaForCausalLM": ("table", "attention mid mlp_out"),
    "Gemma2ForCausalLM": ("table", "attention mid mlp_out"),  # norms around both parts
    "Olmo2ForCausalLM": ("table", "attention mid mlp_out"),  # norms after both parts
    "GPT2LMHeadModel": ("table", "attention mid mlp_out"),  # fused, transposed
    "GPTNeoForCausalLM": ("table", "attention mid mlp_out"),  # attention inside attention
    "GPTNeoXForCausalLM": ("table", "attention mlp_out"),  # parallel
    "Qwen3VLForConditionalGeneration": ("table", "attention mid mlp_out"),  # one level deeper
    "OPTForCausalLM": ("table", "attention mid mlp_out"),  # flat MLP
    "GPTJForCausalLM": ("transformer_lens", "attention mlp_out"),  # tuples, parallel
    "BloomForCausalLM": ("transformer_lens", "attention mid mlp_out"),  # tuples, ALiBi
    "MptForCausalLM": ("transformer_lens", "attention mid mlp_out"),  # ALiBi
    "MixtralForCausalLM": ("transformer_lens", "attention mid"),  # experts
    "Lfm2MoeForCausalLM": ("transformer_lens", "mid"),  # attention in some blocks
    "MambaForCausalLM": ("transformer_lens", ""),  # states counted after the blocks
}
PATHS = {"blocks.{block}": "model.layers.{block}", "ln_final": "model.norm"}


@pytest.mark.parametrize("architecture", FAMILIES)
def test_sites_of_families_of_every_shape_are_found_and_proved(architecture: str) -> None:
    source, parts = FAMILIES[architecture]
    model = tiny_architecture(architecture)
    model(**INPUTS, output_hidden_states=True)  # transformers hangs up hooks of its own
    hooks = count_hooks(model)
    found = check_sites(model, resolve(model), INPUTS)
    assert count_hooks(model) == hooks
    assert found.source == source
    had = {part for part in ("attention", "mid", "mlp_out") if getattr(found, part)}
    assert had == set(parts.split())
    assert bool(found.attention_out) == ("attention" in had)
    assert len(found.missing) == 4 - len(had) - bool(found.attention_out)
    assert found.layers == sum(site.name.endswith("resid_post") for site in sites(model))


def read(model: Any, modules: tuple[nn.Module, ...], side: Any) -> list[torch.Tensor]:
    """Read modules the slow way."""
    kept: list[torch.Tensor] = []
    with torch.no_grad(), Hooks([Hook(module, side, kept.append) for module in modules]):
        model(**INPUTS)
    return kept


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "opt"])
def test_mid_is_the_block_input_plus_what_attention_adds(
    family: str, make_model: Callable[..., Any]
) -> None:
    model = make_model(family)
    found = resolve(model)
    named = {"gemma2": "post_attention_layernorm"}.get(family)
    adding = tuple(
        block.get_submodule(named) if named else module
        for block, module in zip(found.blocks, found.attention, strict=True)
    )
    before, added = read(model, found.blocks, "input"), read(model, adding, "output")
    for start, part, middle in zip(before, added, read(model, found.mid, "input"), strict=True):
        torch.testing.assert_close(middle.reshape(start.shape), start + part, rtol=0, atol=1e-5)


def test_a_part_that_is_no_middle_is_left_out_with_a_reason(
    make_model: Callable[..., Any],
) -> None:
    model = make_model("llama")
    found = resolve(model)
    wrong = replace(found, mid=found.attention)
    proved = check_sites(model, wrong, INPUTS)
    assert proved.mid == ()
    assert "input plus a part" in proved.missing["blocks.{block}.hook_resid_mid"]
    assert check_sites(model, found, INPUTS).mid == found.mid


def test_a_module_that_is_not_called_is_left_out(make_model: Callable[..., Any]) -> None:
    model = make_model("llama")
    found = resolve(model)
    strangers = tuple(nn.Linear(2, 2) for _ in found.blocks)
    proved = check_sites(model, replace(found, mlp_out=strangers), INPUTS)
    with pytest.raises(CheckpointError, match=r"no blocks\.\{block\}\.mlp\.hook_post: block 0 doe"):
        need(model, proved, "mlp_out")


@pytest.mark.parametrize(
    ("architecture", "collector", "why"),
    [
        ("MixtralForCausalLM", "sparsity", r"MixtralSparseMoeBlock.*a mixture of experts"),
        ("Lfm2MoeForCausalLM", "attention", r"no blocks\.\{block\}\.attn\.hook_pattern"),
    ],
)
def test_a_collector_without_its_sites_is_refused_by_name(
    architecture: str, collector: str, why: str, plan: Plan
) -> None:
    model = tiny_architecture(architecture)
    with pytest.raises(CheckpointError, match=why):
        prepare(model, plan, CollectSettings(collectors=("residual", collector)))


def test_the_residual_stream_of_a_mixture_of_experts_is_read(plan: Plan) -> None:
    settings = CollectSettings(collectors=("residual",), residual_sites=("pre", "mid", "post"))
    instrument = prepare(tiny_architecture("MixtralForCausalLM"), plan, settings)
    instrument.measure()
    assert instrument.arrays["residual"].shape[0] == LAYERS + 1
    assert bool(instrument.arrays["residual_mid"].any())


def test_flat_mlp_activations_are_read(plan: Plan) -> None:
    instrument = prepare(tiny_architecture("OPTForCausalLM"), plan, CollectSettings())
    instrument.measure()
    assert bool(instrument.arrays["sparsity"].any())


def test_names_are_those_of_transformer_lens(make_model: Callable[..., Any]) -> None:
    listed = {site.name: site for site in sites(make_model("gpt2"))}
    assert listed["blocks.1.hook_resid_post"].module == "transformer.h.2"
    assert listed["blocks.2.hook_resid_post"].module == "transformer.ln_f"
    assert listed["blocks.0.hook_resid_pre"].module == "transformer.h.0"
    assert listed["blocks.0.hook_resid_mid"].module == "transformer.h.0.ln_2"
    assert listed["blocks.1.attn.hook_pattern"].module == "transformer.h.1.attn"
    assert listed["blocks.1.mlp.hook_post"].module == "transformer.h.1.mlp.c_proj"
    assert listed["blocks.1.mlp.hook_post"].shape == "[line, token, d_mlp=128]"
    assert listed["blocks.1.attn.hook_z"].module == "transformer.h.1.attn.c_proj"
    assert listed["blocks.1.attn.hook_z"].shape == "[line, token, attention_head=4, d_head=8]"
    assert len(listed) == 6 * 3


def test_an_unknown_architecture_shows_its_modules() -> None:
    model = nn.Sequential(nn.Linear(2, 3))
    with pytest.raises(ConfigError, match=r"layers of a Sequential(.|\n)*0: Linear"):
        resolve(model)


@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "FalconForCausalLM"])
def test_the_gate_refuses_blocks_in_another_order(architecture: str) -> None:
    model = tiny_architecture(architecture)
    found = resolve(model)
    with pytest.raises(CheckpointError, match="the input of block 0 is not hidden state 0"):
        check_sites(model, replace(found, blocks=found.blocks[::-1]), INPUTS)


def test_the_gate_refuses_a_missing_block(make_model: Callable[..., Any]) -> None:
    model = make_model("llama")
    found = resolve(model)
    with pytest.raises(CheckpointError, match="4 hidden states for 2 blocks"):
        check_sites(model, replace(found, blocks=found.blocks[:2]), INPUTS)


def test_the_gate_refuses_another_norm(make_model: Callable[..., Any]) -> None:
    model = make_model("llama")
    found = resolve(model)
    wrong = replace(found, final_norm=found.mid[2])
    with pytest.raises(CheckpointError, match="output of block 2 is not the input of the final"):
        check_sites(model, wrong, INPUTS)


@pytest.mark.parametrize(
    ("architecture", "why"),
    [
        ("NanoChatForCausalLM", "the final norm is called 2 times"),
        ("OpenAIGPTLMHeadModel", "no norm, or other module of its own, follows"),
        ("DeepseekV4ForCausalLM", r"shape \(2, 4, 4, 32\), not one of 3 axes"),
    ],
)
def test_a_family_whose_stream_cannot_be_read_is_refused(architecture: str, why: str) -> None:
    model = tiny_architecture(architecture)
    with pytest.raises(CheckpointError, match=why):
        check_sites(model, resolve(model), INPUTS)


def test_paths_of_the_user_come_first(make_model: Callable[..., Any]) -> None:
    model = make_model("llama")
    mlp = {"blocks.{block}.mlp.out": "model.layers.{block}.mlp.down_proj"}
    found = check_sites(model, resolve(model, PATHS | mlp), INPUTS)
    known = resolve(model)
    assert (found.source, found.blocks, found.mlp_out) == ("user", known.blocks, known.mlp_out)
    assert found.attention == ()


def test_paths_of_the_user_open_a_model_that_no_table_gets_right() -> None:
    model = tiny_architecture("BertLMHeadModel")
    with pytest.raises(CheckpointError, match="not the input of the final norm"):
        check_sites(model, resolve(model), INPUTS)
    paths = {"blocks.{block}": "bert.encoder.layer.{block}", "ln_final": "cls"}
    assert check_sites(model, resolve(model, paths), INPUTS).layers == LAYERS


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        ({"blocks": "x"}, "no site is called 'blocks'"),
        ({"ln_final": "model.norm"}, r"no path is given for 'blocks\.\{block\}'"),
        (PATHS | {"ln_final": "model.norm.{block}"}, "does not belong"),
        (PATHS | {"blocks.{block}": "model.layers"}, r"\{block\} is missing"),
        (PATHS | {"ln_final": "model.nrm"}, r"no module 'model\.nrm'\nwhere: model\n.*norm"),
        (PATHS | {"blocks.{block}": "model.h.{block}"}, r"no module 'model\.h\.0'"),
        (PATHS | {"blocks.{block}.attn": "model.layers.{block}.at"}, r"self_attn"),
    ],
)
def test_paths_that_lead_nowhere_are_named(
    paths: dict[str, str], said: str, make_model: Callable[..., Any]
) -> None:
    with pytest.raises(ConfigError, match=said):
        resolve(make_model("llama"), paths)
