"""Packed rows are used where they are exact, and only there."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BloomConfig, BloomForCausalLM, MptConfig, MptForCausalLM

from critical_phase.errors import ConfigError
from critical_phase.probes import (
    CollectSettings,
    Plan,
    Unit,
    batches,
    collect,
    read_activations,
    read_attrs,
    tree_mask,
    unit_path,
)
from critical_phase.probes.instrument import make_packer, make_scene, prepare
from critical_phase.probes.length_cuts import cut_by_length

BASE = (Unit("base", 0),)


def alibi(family: str) -> Any:
    torch.manual_seed(0)
    if family == "mpt":
        config = MptConfig(vocab_size=130, d_model=32, n_layers=2, n_heads=4)
        return MptForCausalLM(config).eval()
    config = BloomConfig(
        vocab_size=130, hidden_size=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0
    )
    return BloomForCausalLM(config).eval()


@pytest.mark.parametrize("family", ["mpt", "bloom"])
def test_families_with_linear_biases_fall_back_to_single_rows(family: str, plan: Plan) -> None:
    instrument = prepare(alibi(family), plan, CollectSettings(("residual",)))
    assert instrument.choice.layout == "naive"
    assert "packed" in instrument.choice.reason


@pytest.mark.parametrize("family", ["llama", "qwen2_window", "gpt2"])
def test_packed_and_naive_files_agree(
    family: str, plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    for layout in ("packed", "naive"):
        settings = CollectSettings(layout=layout)  # type: ignore[arg-type]
        collect(tmp_path / layout, make_model(family), plan, BASE, settings=settings)
    for name in ("residual", "attention_row", "sparsity"):
        packed, naive = (
            read_activations(unit_path(tmp_path / layout, "activations", BASE[0]), name)
            for layout in ("packed", "naive")
        )
        np.testing.assert_allclose(packed, naive, rtol=2e-3, atol=2e-5 * np.abs(naive).max())


def test_small_batches_and_large_ones_agree(
    plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    for size in (1, 100, 5000):
        settings = CollectSettings(("residual",), batch_tokens=size)
        collect(tmp_path / str(size), make_model("llama"), plan, BASE, settings=settings)
    one, some, many = (
        read_activations(unit_path(tmp_path / str(size), "activations", BASE[0]), "residual")
        for size in (1, 100, 5000)
    )
    np.testing.assert_allclose(one, many, atol=1e-5 * np.abs(many).max())
    np.testing.assert_allclose(some, many, atol=1e-5 * np.abs(many).max())


def test_the_gate_sees_siblings_that_look_at_each_other(
    plan: Plan, make_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaky(segment: Any, places: Any, config: Any, dtype: Any, shared: int) -> Any:
        length = segment.shape[1]
        seen = torch.ones(length, length, dtype=torch.bool).tril().expand(len(segment), -1, -1)
        return tree_mask._additive(seen, dtype)

    monkeypatch.setattr(batches, "tree_mask", leaky)
    settings = CollectSettings(("residual",))
    choice = prepare(make_model("llama"), plan, settings).choice
    assert choice.layout == "naive"
    assert choice.difference > 1e-2
    with pytest.raises(ConfigError, match="cannot read packed rows"):
        prepare(make_model("llama"), plan, CollectSettings(("residual",), layout="packed"))


def test_a_window_counted_in_slots_is_seen(
    plan: Plan, make_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_mask, "_windowed", lambda seen, distance, window: seen)
    model = make_model("mistral_window")
    assert prepare(model, plan, CollectSettings(("residual",))).choice.layout == "naive"
    assert prepare(model, plan, CollectSettings(())).choice.layout == "cached"


@pytest.mark.parametrize("pass_cost", [1, 30, 4000])
def test_batches_hold_every_line_once_and_no_more_than_fits(pass_cost: int) -> None:
    rng = np.random.default_rng(pass_cost)
    widths = np.sort(rng.integers(5, 90, size=300)).tolist()
    cuts = cut_by_length(widths, 400, pass_cost)
    assert (cuts[0], cuts[-1]) == (0, 300)
    for start, stop in itertools.pairwise(cuts):
        assert 0 < (stop - start) * widths[stop - 1] <= 400


def test_batches_cost_no_more_than_any_others() -> None:
    widths, cost = [4, 5, 5, 9, 20], 12

    def price(cuts: tuple[int, ...]) -> int:
        whole = (0, *cuts, 5)
        return sum((b - a) * widths[b - 1] + cost for a, b in itertools.pairwise(whole))

    inner = [c for n in range(5) for c in itertools.combinations(range(1, 5), n)]
    found = tuple(cut_by_length(widths, 1000, cost)[1:-1])
    assert price(found) == min(map(price, inner))


def test_a_line_longer_than_a_batch_stands_alone() -> None:
    assert cut_by_length([3, 50, 60], 10, 1) == [0, 1, 2, 3]


def test_every_row_is_read_once_and_halves_keep_them(
    plan: Plan, make_model: Callable[..., Any]
) -> None:
    scene = make_scene(make_model("llama"), plan, CollectSettings())
    for layout in ("packed", "naive"):
        packer = make_packer(scene, layout, 90)  # type: ignore[arg-type]
        rows = [row for batch in packer for row in batch.rows]
        assert sorted(rows) == list(range(plan.rows))
        whole = packer.only([0, 1, 2, 3])
        parts = packer.halves(whole)
        assert sorted(row for part in parts for row in part.rows) == list(range(plan.rows))
        assert packer.halves(packer.batch(0)) == [] or len(packer.batch(0).inputs["input_ids"]) > 1


def test_a_batch_that_does_not_fit_is_halved_and_gives_the_same(
    plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    instrument = prepare(make_model("llama"), plan, CollectSettings(("residual",)))
    expected = instrument.measure().logprob_sum
    model = instrument.scene.model

    def small(_: Any, args: Any, kwargs: Any) -> None:
        if len(kwargs["input_ids"]) > 1:
            raise torch.OutOfMemoryError("planted: out of memory")

    handle = model.register_forward_pre_hook(small, with_kwargs=True)
    np.testing.assert_allclose(instrument.measure().logprob_sum, expected, rtol=1e-5)
    handle.remove()


def test_the_layout_stands_in_the_file(
    plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    settings = CollectSettings((), layout="naive")
    report = collect(tmp_path, make_model("llama"), plan, BASE, settings=settings)
    attrs = read_attrs(unit_path(tmp_path, "scores", BASE[0]))
    assert (attrs["row_layout"], report.layout) == ("naive", "naive")
    assert attrs["row_layout_reason"] == "naive rows were asked for"
