"""Our readings are those of TransformerLens' bridge, with a non-zero adapter in the model."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_architectures import tiny_architecture
from tiny_plan import save_adapters, save_lora
from tiny_variants import save_variant

from critical_phase.checkpoints import ORGANISM, AdapterSlot, Checkpoint, load_model
from critical_phase.errors import CheckpointError, ConfigError, StoreError
from critical_phase.probes import (
    CollectSettings,
    Plan,
    bridge_parity,
    collect,
    make_units,
    read_activations,
    read_attrs,
    read_scores,
    unit_path,
)
from critical_phase.probes.bridge_twin import Twin, lost_adapters
from critical_phase.probes.hooks import count_hooks

TOKENS = tuple(range(3, 40))
# float32, and the bridge works attention out step by step.
TOLERANCE = 1e-5
READ = ("residual", "attention", "sparsity")
DATASETS = ("residual", "residual_mid", "attention_row", "pattern", "sparsity")


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_readings_equal_the_bridge_on_a_merged_adapter(
    family: str, make_model: Callable[..., Any], make_adapters: Callable[..., Any], tmp_path: Path
) -> None:
    (checkpoint,) = make_adapters(tmp_path / "heads", family, (1,))
    slot = AdapterSlot.attach(make_model(family), checkpoint)
    model = merged_twin(slot, make_model(family))
    hooks = count_hooks(model)
    parity = bridge_parity(model, TOKENS)
    assert parity.worst < TOLERANCE
    assert count_hooks(model) == hooks


def merged_twin(slot: AdapterSlot, plain: Any) -> Any:
    """Copy the merged weights into a model without adapters."""
    merged = dict(slot.model.named_parameters())
    for name, parameter in plain.named_parameters():
        owner, _, leaf = name.rpartition(".")
        found = merged.get(name, merged.get(f"{owner}.base_layer.{leaf}"))
        parameter.data.copy_(found.data)
    return plain


def test_readings_equal_the_bridge_on_the_organism_with_an_adapter(
    make_lora: Callable[..., Any], tmp_path: Path
) -> None:
    (checkpoint,) = make_lora(tmp_path, load_model(ORGANISM)[0], ["q_proj", "down_proj"])
    model, _ = load_model(ORGANISM)
    before = bridge_parity(model, TOKENS)
    slot = AdapterSlot.attach(model, checkpoint)
    with torch.no_grad():
        with slot.base():
            base = slot.model(torch.tensor([TOKENS])).logits
        assert not torch.allclose(slot.model(torch.tensor([TOKENS])).logits, base, atol=1e-2)
    assert max(before.worst, bridge_parity(slot.model, TOKENS).worst) < TOLERANCE


def collected(
    run: Path, model: Any, plan: Plan, series: tuple[Checkpoint, ...], backend: Any
) -> dict[str, np.ndarray]:
    """Collect a series in one way and join its units' arrays."""
    sites = ("pre", "mid", "post")
    settings = CollectSettings(READ, pattern_rows=(0,), residual_sites=sites, backend=backend)
    units = make_units({"positive": series})
    collect(run, model, plan, units, settings=settings, fail_fast=True)
    files = [unit_path(run, "activations", unit) for unit in units]
    found = {name: np.stack([read_activations(file, name) for file in files]) for name in DATASETS}
    scores = [read_scores(unit_path(run, "scores", unit)).logprob_sum for unit in units]
    return found | {"scores": np.stack(scores)}


@pytest.mark.parametrize(
    ("family", "variant"),
    [
        ("llama", ""),  # merged in place under one bridge
        ("llama", "dora"),  # never merged: live layers inside the bridge
        ("llama", "modules_to_save"),
        ("opt", ""),  # flat MLP
        ("gpt2", ""),  # fused weights: a bridge for every checkpoint
    ],
)
def test_both_backends_collect_the_same(
    family: str, variant: str, make_model: Callable[..., Any], plan: Plan, tmp_path: Path
) -> None:
    folder = tmp_path / "heads"
    series = (
        save_variant(folder, family, variant, (1, 2)) if variant else save_adapters(folder, family)
    )
    plain = collected(tmp_path / "hooks", make_model(family), plan, series, "hooks")
    bridged = collected(tmp_path / "bridge", make_model(family), plan, series, "bridge")
    for name, values in plain.items():
        scale = np.abs(values).max()
        assert np.abs(bridged[name] - values).max() <= TOLERANCE * scale, name
    steps = plain["residual"]
    assert np.abs(steps[1] - steps[0]).max() > 1e-2 * np.abs(steps).max()  # the adapter matters


def test_the_file_says_who_read_it_and_how_close_they_were(
    make_model: Callable[..., Any], make_adapters: Callable[..., Any], plan: Plan, tmp_path: Path
) -> None:
    series = make_adapters(tmp_path / "heads", "llama", (1,))
    collected(tmp_path, make_model("llama"), plan, series, "bridge")
    attrs = read_attrs(tmp_path / "activations/positive/step-00000001.h5")
    assert (attrs["backend"], attrs["attention_way"]) == ("bridge", "bridge")
    assert "bridge and plain hooks differ at base-step-00000000 by" in str(
        attrs["row_layout_reason"]
    )
    with pytest.raises(StoreError, match="backend: stored bridge, asked for"):
        collected(tmp_path, make_model("llama"), plan, series, "hooks")


@pytest.mark.parametrize(
    ("family", "variant", "lost"), [("gpt2", "dora", "3 adapted modules.*h.0.attn.c_attn")]
)
def test_a_bridge_that_drops_an_adapter_is_refused(
    family: str, variant: str, lost: str, make_model: Callable[..., Any], plan: Plan, tmp_path: Path
) -> None:
    series = save_variant(tmp_path / "heads", family, variant)
    with pytest.raises(CheckpointError, match=rf"{lost}(.|\n)*collect with --backend hooks"):
        collected(tmp_path / "run", make_model(family), plan, series, "bridge")
    assert not list((tmp_path / "run").rglob("*.h5"))


@pytest.mark.parametrize(
    ("architecture", "targets"),
    [
        ("GPTNeoXForCausalLM", ["query_key_value", "dense_4h_to_h"]),
        ("Phi3ForCausalLM", ["qkv_proj", "down_proj"]),
        ("BloomForCausalLM", ["query_key_value", "dense_4h_to_h"]),
        ("FalconForCausalLM", ["query_key_value", "dense_4h_to_h"]),
    ],
)
def test_fused_projections_lose_a_live_adapter_and_others_keep_it(
    architecture: str, targets: list[str], tmp_path: Path
) -> None:
    (checkpoint,) = save_lora(tmp_path, tiny_architecture(architecture), targets)
    model = tiny_architecture(architecture)
    slot = AdapterSlot.attach(model, checkpoint)
    lost = lost_adapters(slot.model, Twin.boot(slot.model), {"input_ids": torch.tensor([[3, 4]])})
    assert lost
    assert all(targets[0] in name for name in lost)


def test_the_bridge_shares_every_weight_and_leaves_the_model_alone(
    make_model: Callable[..., Any],
) -> None:
    model = make_model("llama")
    kinds = [type(module) for module in model.modules()]
    twin = Twin.boot(model)
    assert [type(module) for module in model.modules()] == kinds
    assert not twin.splits
    ours = {id(parameter) for parameter in model.parameters()}
    assert {id(parameter) for parameter in twin.model.parameters()} == ours
    assert Twin.boot(make_model("gpt2")).splits


def test_values_that_differ_are_refused(
    make_model: Callable[..., Any], plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot = Twin.boot

    def spoilt(model: Any) -> Twin:
        twin = boot(model)
        points = dict(twin.points)
        points["blocks.1.hook_resid_pre"] = twin.points["blocks.2.hook_resid_pre"]
        return replace(twin, points=points)

    monkeypatch.setattr(Twin, "boot", spoilt)
    with pytest.raises(ConfigError, match="does not read what plain hooks read: packed rows"):
        collected(tmp_path, make_model("llama"), plan, (), "bridge")


@pytest.mark.parametrize(
    ("architecture", "collectors", "said"),
    [
        ("LlamaForCausalLM", ("residual", "lora_hidden"), "does not read lora_hidden"),
        ("LlamaForCausalLM", (), "scores alone need no bridge"),
    ],
)
def test_what_a_bridge_cannot_read_is_refused(
    architecture: str, collectors: tuple[str, ...], said: str, plan: Plan, tmp_path: Path
) -> None:
    settings = CollectSettings(collectors, backend="bridge")
    with pytest.raises(ConfigError, match=said):
        collect(
            *(tmp_path, tiny_architecture(architecture), plan, make_units({})),
            settings=settings,
            fail_fast=True,
        )
