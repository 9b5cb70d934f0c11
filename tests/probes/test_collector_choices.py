"""Positions, sites, rank patterns and units without an adapter."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_families import build_model

from critical_phase.checkpoints import PROMPTS, Question
from critical_phase.errors import CheckpointError, ConfigError
from critical_phase.probes import (
    COLLECTORS,
    POSITION_NAMES,
    CollectSettings,
    Plan,
    Unit,
    collect,
    estimate,
    make_plan,
    make_units,
    read_activations,
    read_attrs,
    unit_path,
)
from critical_phase.probes.attention_summary import RowText
from critical_phase.probes.collector import version_of
from critical_phase.probes.instrument import prepare
from critical_phase.probes.lora_hidden import refuse_full_weights
from critical_phase.probes.settings import DEFAULT_COLLECTORS
from critical_phase.probes.sparsity_metrics import sorted_parts
from critical_phase.probes.sparsity_more import MORE, more_metrics
from critical_phase.probes.unit_sizes import SIZES

BASE = Unit("base", 0)


def test_default_files_have_the_two_ends_and_no_mid(
    plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    collect(tmp_path, make_model("llama"), plan, (BASE,), settings=CollectSettings(("residual",)))
    path = unit_path(tmp_path, "activations", BASE)
    assert list(read_activations(path, "position")) == ["question_end", "answer_end"]
    assert "positions" not in read_attrs(path)["unit_key"]


@pytest.mark.parametrize("given", [("answer_end",), ("answer_mean", "question_end")])
def test_chosen_positions_are_those_of_a_whole_read(
    given: tuple[str, ...], plan: Plan, make_model: Callable[..., Any]
) -> None:
    whole, some = (
        prepare(make_model("llama"), plan, CollectSettings(("residual",), positions=names))
        for names in (POSITION_NAMES, given)
    )
    whole.measure()
    some.measure()
    kept = [i for i, name in enumerate(POSITION_NAMES) if name in given]
    assert torch.equal(some.arrays["residual"], whole.arrays["residual"][:, :, kept])


def test_mid_alone_gives_mid_alone(plan: Plan, make_model: Callable[..., Any]) -> None:
    settings = CollectSettings(("residual",), residual_sites=("mid",))
    instrument = prepare(make_model("llama"), plan, settings)
    assert list(instrument.arrays) == ["residual_mid"]
    assert "layer" not in instrument.coordinates


@pytest.mark.parametrize("family", ["gpt_neox", "phi"])
def test_a_family_with_parallel_blocks_has_no_mid(family: str, plan: Plan) -> None:
    settings = CollectSettings(("residual",), residual_sites=("post", "mid"))
    with pytest.raises(CheckpointError, match=r"has no blocks.\{block\}.hook_resid_mid: "):
        prepare(build_model(family), plan, settings)


@pytest.mark.parametrize("family", ["gemma2", "opt", "gpt_neo"])
def test_mid_is_the_stream_that_the_mlp_adds_to(family: str, plan: Plan) -> None:
    settings = CollectSettings(("residual",), residual_sites=("post", "mid"))
    instrument = prepare(build_model(family), plan, settings)
    instrument.measure()
    stream, mid = instrument.arrays["residual"], instrument.arrays["residual_mid"]
    assert not torch.allclose(stream[:-1], mid, atol=1e-3)
    assert not torch.allclose(stream[1:], mid, atol=1e-3)


PATTERN = {"rank_pattern": {"down_proj": 2}, "alpha_pattern": {"down_proj": 8}}


def test_ranks_that_differ_are_padded_and_stated(
    plan: Plan, make_model: Callable[..., Any], make_lora: Callable[..., Any], tmp_path: Path
) -> None:
    made = make_lora(tmp_path / "h", make_model("llama"), ["q_proj", "down_proj"], (1,), **PATTERN)
    units, settings = make_units({"negative": made}), CollectSettings(("lora_hidden",))
    collect(tmp_path, make_model("llama"), plan, units, settings=settings, fail_fast=True)
    path = unit_path(tmp_path, "activations", units[1])
    names = read_activations(path, "lora_module")
    ranks = dict(zip(names, read_activations(path, "lora_module_rank"), strict=True))
    scales = dict(zip(names, read_activations(path, "lora_module_scaling"), strict=True))
    narrow, wide = "model.layers.1.mlp.down_proj", "model.layers.1.self_attn.q_proj"
    assert (ranks[narrow], ranks[wide], scales[narrow], scales[wide]) == (2, 3, 4.0, 2.0)
    values = read_activations(path, f"lora_hidden/{narrow}")
    assert values.shape == (plan.rows, 2, 3)
    assert values[..., :2].all()
    assert not values[..., 2:].any()


def test_an_adapter_on_the_embedding_is_read_by_token(
    plan: Plan, make_model: Callable[..., Any], make_lora: Callable[..., Any], tmp_path: Path
) -> None:
    (made,) = make_lora(tmp_path / "h", make_model("llama"), ["embed_tokens"], (1,))
    settings = CollectSettings(("lora_hidden",), positions=POSITION_NAMES)
    units = (Unit("negative", 1, made),)
    collect(tmp_path, make_model("llama"), plan, units, settings=settings, fail_fast=True)
    path = unit_path(tmp_path, "activations", units[0])
    found = read_activations(path, "lora_hidden/model.embed_tokens")
    from safetensors.torch import load_file

    (table,) = (
        v for k, v in load_file(made.path / "adapter_model.safetensors").items() if "_A" in k
    )
    for row in range(plan.rows):
        own = plan.answers[row]
        expected = torch.stack([table[:, own[-1]], table[:, list(own)].mean(1)])
        np.testing.assert_allclose(found[row, 1:], expected, rtol=1e-5, atol=1e-7)


def test_full_weights_have_no_hidden_vectors() -> None:
    with pytest.raises(ConfigError, match="these checkpoints are full weights"):
        refuse_full_weights({"full"})


def test_the_base_alone_says_why_it_has_none(
    plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    settings = CollectSettings(("residual", "lora_hidden"))
    collect(tmp_path, make_model("llama"), plan, (BASE,), settings=settings, fail_fast=True)
    attrs = read_attrs(unit_path(tmp_path, "activations", BASE))
    assert "the base model holds no adapter" in attrs["lora_hidden_absent"]


def test_a_resume_takes_the_thresholds_of_the_base_file(
    plan: Plan, make_model: Callable[..., Any], make_adapters: Callable[..., Any], tmp_path: Path
) -> None:
    units = make_units({"negative": make_adapters(tmp_path / "heads", "llama", (1,))})
    settings = CollectSettings(("residual_sparsity",))
    collect(tmp_path / "a", make_model("llama"), plan, units, settings=settings)
    for some in (units[:1], units[1:]):
        collect(tmp_path / "b", make_model("llama"), plan, some, settings=settings, fail_fast=True)
    for unit in units:
        one, two = (
            read_activations(unit_path(tmp_path / run, "activations", unit), "residual_sparsity")
            for run in "ab"
        )
        np.testing.assert_array_equal(one, two)


def test_sizes_know_every_collector_and_come_near_the_truth(
    plan: Plan, make_model: Callable[..., Any], make_adapters: Callable[..., Any], tmp_path: Path
) -> None:
    assert list(SIZES) == list(COLLECTORS)
    units = make_units({"negative": make_adapters(tmp_path / "heads", "llama", (1,))})
    settings = CollectSettings(
        tuple(COLLECTORS), positions=POSITION_NAMES, residual_sites=("mid", "post")
    )
    model = make_model("llama")
    guess = estimate(tmp_path / "run", model.config, plan, units, settings=settings, model=model)
    collect(tmp_path / "run", model, plan, units, settings=settings, fail_fast=True)
    taken = sum(path.stat().st_size for path in (tmp_path / "run").rglob("*.h5"))
    assert 0.7 < taken / guess.bytes_needed < 1.4


def test_what_changed_in_a_collector_is_in_the_key(plan: Plan) -> None:
    assert {name: version_of(COLLECTORS[name]) for name in DEFAULT_COLLECTORS} == {
        "residual": 1,
        "attention": 2,
        "sparsity": 2,
    }
    given = CollectSettings(positions=("answer_mean", "answer_end"), residual_sites=("mid",))
    assert given.key["positions"] == ["answer_end", "answer_mean"]
    assert given.key["residual_sites"] == ["mid"]
    assert CollectSettings(residual_sites=("post",)).key == CollectSettings().key
    assert replace(given, collectors=("sparsity",)).key.get("residual_sites") is None


def test_one_dimension_and_equal_dimensions_have_known_metrics() -> None:
    rows = torch.zeros(3, 100)
    rows[0, 7], rows[1] = -4.0, 2.0
    whole, _ = more_metrics(*sorted_parts(rows, torch.tensor([50])))
    one, even, none = ({name: float(whole[name][i]) for name in MORE} for i in range(3))
    shares = {"top1_energy": 0.01, "top5_energy": 0.05, "top7_energy": 0.07}
    peaked = dict.fromkeys(shares, 1.0)
    assert one == pytest.approx({"l1": 4, "effective_rank": 0.01, "l0_own": 0.01} | peaked)
    assert even == pytest.approx({"l1": 200, "effective_rank": 1, "l0_own": 0} | shares)
    assert none == pytest.approx({"l1": 0, "effective_rank": 1, "l0_own": 0} | shares)


def test_trimmed_metrics_are_those_of_the_other_dimensions() -> None:
    x = torch.randn(4, 60, generator=torch.Generator().manual_seed(0))
    x[:, 5] = 1e6
    _, trimmed = more_metrics(*sorted_parts(x, torch.tensor([5])))
    others = torch.cat([x[:, :5], x[:, 6:]], dim=1)
    whole, _ = more_metrics(*sorted_parts(others, torch.tensor([0])))
    for name in MORE:
        torch.testing.assert_close(trimmed[name], whole[name], rtol=1e-4, atol=1e-6)


def test_induction_and_other_text_are_counted_by_hand(tokenizer: Any) -> None:
    question = Question("q", "ab", ("ba", "xy"), 0, "")
    plan = make_plan((question,), tokenizer, PROMPTS["qa"])  # <s>Q: ab\nA: ba
    batch = next(iter(prepare(build_model("llama"), plan, CollectSettings()).packer))
    text = RowText.of(plan, batch)
    own = ["<s>", *"Q: ab\nA: ba"]
    local = batch.rows.tolist().index(0)
    after = [k for k in range(1, len(own) - 1) if own[k - 1] == "a"]
    assert text.after_same[local].nonzero()[:, 0].tolist() == after
    assert after == [own.index("a") + 1]
    assert text.induction_keys.tolist()[1 - local] == 0
    assert text.other is not None
    assert [own[k] for k in text.other[local].nonzero()[:, 0]] == list("Q: \nA:")


def test_a_tokenizer_without_offsets_leaves_other_text_out(
    plan: Plan, make_model: Callable[..., Any]
) -> None:
    unknown = replace(plan, asked=())
    instrument = prepare(make_model("llama"), unknown, CollectSettings(("attention",)))
    instrument.measure()
    assert "attention_summary/other_text_mass" not in instrument.arrays
    assert "attention_summary/induction_mass" in instrument.arrays
