"""Attention rows: summaries add up, and the mask that the model passed in is the one used."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from critical_phase.errors import CheckpointError
from critical_phase.probes import CollectSettings, Plan, attention_row
from critical_phase.probes.attention_row import query_rows, seen_rows
from critical_phase.probes.attention_summary import SUMMARIES, summarise
from critical_phase.probes.instrument import make_scene, prepare


def rows_of(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows)[:, None]


def test_uniform_attention_has_known_summaries() -> None:
    row = rows_of([0.125] * 8)
    found = summarise(row, torch.tensor([8]), torch.tensor([4]))
    values = {name: float(value) for name, value in found.items()}
    assert values["entropy_rest"] == pytest.approx(1)
    assert values["sink_mass"] == pytest.approx(0.125)
    assert values["question_mass"] == pytest.approx(0.375)
    assert values["answer_mass"] == pytest.approx(0.375)
    assert values["previous_mass"] == pytest.approx(0.125)
    assert values["self_mass"] == pytest.approx(0.125)


def test_one_key_has_no_entropy_and_the_sink_does_not_count() -> None:
    row = rows_of([0.9, 0.0, 0.1, 0.0])
    assert float(summarise(row, torch.tensor([4]), torch.tensor([2]))["entropy_rest"]) == 0
    both = rows_of([0.9, 0.05, 0.05, 0.0])
    expected = np.log(2) / np.log(3)
    found = summarise(both, torch.tensor([4]), torch.tensor([2]))["entropy_rest"]
    assert float(found) == pytest.approx(expected)


@pytest.mark.parametrize("length", [1, 2])
def test_rows_too_short_for_an_entropy_give_zero(length: int) -> None:
    row = rows_of([1.0] + [0.0] * 3)
    found = summarise(row, torch.tensor([length]), torch.tensor([1]))
    assert float(found["entropy_rest"]) == 0
    assert all(torch.isfinite(value).all() for value in found.values())


def test_parts_of_the_row_add_up_to_one(plan: Plan, make_model: Callable[..., Any]) -> None:
    instrument = prepare(make_model("llama"), plan, CollectSettings(("attention",)))
    instrument.measure()
    names = ("sink_mass", "question_mass", "answer_mass", "self_mass")
    total = sum(instrument.arrays[f"attention_summary/{name}"] for name in names)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-5)
    assert all(f"attention_summary/{name}" in instrument.arrays for name in SUMMARIES)


@pytest.mark.parametrize("kind", ["none", "bool", "additive"])
def test_every_kind_of_mask_gives_the_softmax_of_all_queries(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(2, h, 6, 4, generator=generator) for h in (4, 2))
    seen = torch.ones(6, 6, dtype=torch.bool).tril()[None, None]
    additive = torch.zeros(1, 1, 6, 6).masked_fill(~seen, torch.finfo(torch.float32).min)
    mask = {"none": None, "bool": seen, "additive": additive}[kind]
    scores = query @ key.repeat_interleave(2, dim=1).transpose(2, 3) * 0.3 + additive
    slots = torch.tensor([[5, 2], [0, 4]])
    found = query_rows(query, key, seen_rows(mask, slots, key.shape[2]), 0.3, slots)
    for line in range(2):
        expected = scores.softmax(-1)[line][:, slots[line]]
        torch.testing.assert_close(found[line], expected)


def test_a_layer_without_a_row_is_an_error(
    plan: Plan, make_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    instrument = prepare(make_model("llama"), plan, CollectSettings(("attention",)))
    monkeypatch.setattr(attention_row, "_READERS", {})
    reader = instrument.collectors[0]._reader  # type: ignore[attr-defined]
    monkeypatch.setattr(
        instrument.collectors[0], "_reader", lambda i: (lambda *_: None) if i == 1 else reader(i)
    )
    with pytest.raises(CheckpointError, match=r"attention of blocks \[1\] was not read"):
        instrument.measure()


def test_rows_that_differ_from_eager_are_not_used(
    plan: Plan, make_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    true_rows = attention_row.query_rows
    monkeypatch.setattr(
        "critical_phase.probes.attention.query_rows",
        lambda q, k, mask, scaling, slots: true_rows(q, k, mask, 2 * scaling, slots),
    )
    instrument = prepare(make_model("llama"), plan, CollectSettings(("attention",)))
    assert instrument.choice.layout == "packed"
    assert instrument.scene.attention_way == "eager"


def test_models_that_share_a_config_keep_their_own_attention(
    plan: Plan, make_model: Callable[..., Any]
) -> None:
    first = make_model("llama")
    second = type(first)(first.config).eval()
    prepare(first, plan, CollectSettings(()))
    first.set_attn_implementation("eager")
    assert second.config._attn_implementation == "sdpa"
    assert make_scene(second, plan, CollectSettings()).attention_heads == 4
