"""Places are found by name and proved by a forward pass."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import OPTConfig, OPTForCausalLM

from critical_phase.errors import CheckpointError, ConfigError
from critical_phase.probes import CollectSettings, Plan, resolve, sites
from critical_phase.probes.instrument import prepare
from critical_phase.probes.sites import check_sites

INPUTS = {"input_ids": torch.tensor([[1, 5, 9]]), "use_cache": False}


@pytest.mark.parametrize(
    "family", ["llama", "gpt2", "gpt_neox", "qwen2", "mistral", "gemma", "gemma2", "gpt_neo"]
)
def test_our_table_knows_the_common_families(family: str, make_model: Callable[..., Any]) -> None:
    model = make_model(family)
    found = resolve(model)
    assert found.source == "table"
    assert len(found.attention) == len(found.mlp_out) == found.layers
    check_sites(model, found, INPUTS)


def test_transformer_lens_knows_the_others(plan: Plan) -> None:
    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=130,
        hidden_size=32,
        word_embed_proj_dim=32,
        ffn_dim=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
    )
    model = OPTForCausalLM(config).eval()
    instrument = prepare(model, plan, CollectSettings())
    assert instrument.scene.sites.source == "transformer_lens"
    instrument.measure()
    assert bool(instrument.arrays["sparsity"].any())


def test_names_are_those_of_transformer_lens(make_model: Callable[..., Any]) -> None:
    listed = {site.name: site for site in sites(make_model("gpt2"))}
    assert listed["blocks.1.hook_resid_post"].module == "transformer.h.2"
    assert listed["blocks.2.hook_resid_post"].module == "transformer.ln_f"
    assert listed["blocks.0.hook_resid_pre"].module == "transformer.h.0"
    assert listed["blocks.1.attn.hook_pattern"].module == "transformer.h.1.attn"
    assert listed["blocks.1.mlp.hook_post"].module == "transformer.h.1.mlp.c_proj"
    assert len(listed) == 4 * 3


def test_an_unknown_architecture_shows_its_modules() -> None:
    model = nn.Sequential(nn.Linear(2, 3))
    with pytest.raises(ConfigError, match=r"layers of a Sequential(.|\n)*0: Linear"):
        resolve(model)


def test_the_gate_refuses_blocks_in_another_order(make_model: Callable[..., Any]) -> None:
    model = make_model("llama")
    found = resolve(model)
    with pytest.raises(CheckpointError, match="do not hold what their names say"):
        check_sites(model, replace(found, blocks=found.blocks[::-1]), INPUTS)


def test_the_gate_refuses_a_missing_block(make_model: Callable[..., Any]) -> None:
    model = make_model("llama")
    found = resolve(model)
    with pytest.raises(CheckpointError, match="4 hidden states for 2 blocks"):
        check_sites(model, replace(found, blocks=found.blocks[:2]), INPUTS)
