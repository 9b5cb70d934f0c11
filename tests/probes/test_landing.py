"""Adapters that do not reach the model are caught, however they got lost."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_models import tiny_llama, word_tokenizer
from tiny_run import colour_questions
from tiny_series import write_full_series
from transformers import AutoModelForCausalLM

from critical_phase.checkpoints import (
    AdapterSlot,
    Checkpoint,
    FullSlot,
    Question,
    list_series,
    load_adapter,
    prompt_format,
    quiet_peft,
)
from critical_phase.errors import CheckpointError
from critical_phase.probes import (
    CollectSettings,
    Plan,
    Unit,
    collect,
    make_plan,
    make_units,
    read_scores,
    unit_path,
)
from critical_phase.probes.landing import is_neutral
from critical_phase.probes.stale import StaleAdapters

LEAN = CollectSettings(())


@pytest.fixture
def series(tmp_path: Path, make_adapters: Callable[..., Any]) -> tuple[Checkpoint, ...]:
    checkpoints: tuple[Checkpoint, ...] = make_adapters(tmp_path / "heads", "llama", (0, 1, 2))
    return checkpoints


@pytest.fixture
def full_plan() -> Plan:
    questions = [
        Question(
            id=str(one["id"]),
            question=str(one["question"]),
            candidates=tuple(one["candidates"]),  # type: ignore[arg-type]
            answer=int(str(one["answer"])),
            group="",
        )
        for one in colour_questions(0, 4)
    ]
    return make_plan(questions, word_tokenizer(), prompt_format("plain"))


def test_an_adapter_that_stays_behind_is_refused(
    series: tuple[Checkpoint, ...],
    plan: Plan,
    make_model: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load, first = AdapterSlot.load, []

    def stale(slot: AdapterSlot, checkpoint: Checkpoint) -> str:
        if not first:
            first.append(load(slot, checkpoint))
        return checkpoint.sha256  # claims to have landed

    units = make_units({"negative": series})
    monkeypatch.setattr(AdapterSlot, "load", stale)
    with pytest.raises(CheckpointError, match=r"hold different adapters .* exactly the same"):
        collect(tmp_path, make_model("llama"), plan, units, settings=LEAN)


def test_an_adapter_that_never_arrives_is_refused(
    series: tuple[Checkpoint, ...],
    plan: Plan,
    make_model: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(AdapterSlot, "load", lambda slot, checkpoint: checkpoint.sha256)
    units = make_units({"negative": series})
    monkeypatch.setattr(AdapterSlot, "_merge", lambda slot: None)
    with pytest.raises(CheckpointError, match=r"differ from a fresh load|change no logit"):
        collect(tmp_path, make_model("llama"), plan, units[2:], settings=LEAN)


def test_a_hash_that_is_not_the_listed_one_fails_the_unit(
    series: tuple[Checkpoint, ...], plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    path = series[2].path / "adapter_model.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(path).items()}, path)
    units = make_units({"negative": series})
    report = collect(tmp_path, make_model("llama"), plan, (*units[:3],), settings=LEAN)
    assert not report.failed
    changed = collect(tmp_path, make_model("llama"), plan, (units[2], units[3]), settings=LEAN)
    assert "changed since it was listed" in changed.failed[0].message
    assert changed.existing == (units[2],)


def test_adapters_that_change_nothing_may_agree(series: tuple[Checkpoint, ...]) -> None:
    assert [is_neutral(item) for item in series] == [True, False, False]
    stale = StaleAdapters()
    stale.check("base", None, "x")
    stale.check("a", series[0], "x")
    stale.check("a again", series[0], "x")
    with pytest.raises(CheckpointError, match="b and a hold different adapters"):
        stale.check("b", series[1], "x")


def test_a_start_with_the_other_factor_zero_is_neutral_too(tmp_path: Path) -> None:
    """Of `mica` A is zero and B is not."""
    config = LoraConfig(r=2, target_modules=["down_proj"], init_lora_weights="mica")
    with quiet_peft():
        model = get_peft_model(tiny_llama(), config)
    model.save_pretrained(tmp_path / "checkpoint-0", save_embedding_layers=False)
    item = list_series(tmp_path).at(0)
    assert any(bool(t.any()) for n, t in load_adapter(item.path).items() if "lora_B" in n)
    assert is_neutral(item)


def test_a_stale_adapter_is_seen_across_a_resume(
    series: tuple[Checkpoint, ...],
    plan: Plan,
    make_model: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    units = make_units({"negative": series})
    collect(tmp_path, make_model("llama"), plan, units[2:3], settings=LEAN)
    load = AdapterSlot.load

    def other(slot: AdapterSlot, checkpoint: Checkpoint) -> str:
        load(slot, series[1])
        return checkpoint.sha256

    monkeypatch.setattr(AdapterSlot, "load", other)
    monkeypatch.setattr("critical_phase.probes.slots.check_landing", lambda *_: None)
    with pytest.raises(CheckpointError, match="hold different adapters"):
        collect(tmp_path, make_model("llama"), plan, units[2:], settings=LEAN)


def test_an_adapter_of_another_model_is_refused(
    series: tuple[Checkpoint, ...], plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    units = (Unit("negative", 2, series[2]),)
    with pytest.raises((CheckpointError, ValueError), match=r"does not fit|Target modules"):
        collect(tmp_path, make_model("gpt2"), plan, units, settings=LEAN)


@pytest.fixture
def full(tmp_path: Path) -> tuple[Checkpoint, ...]:
    return list_series(write_full_series(tmp_path / "full", (0, 1, 2))).checkpoints


def test_full_weights_are_collected_and_step_0_agrees_with_the_base(
    full: tuple[Checkpoint, ...], full_plan: Plan, tmp_path: Path
) -> None:
    units = make_units({"positive": full})
    report = collect(tmp_path / "r", tiny_llama(), full_plan, units, settings=LEAN)
    assert not report.failed
    stored = [read_scores(unit_path(tmp_path / "r", "scores", unit)) for unit in units]
    found = [file.logprob_sum for file in stored]
    assert (found[0] == found[1]).all()
    assert not (found[1] == found[2]).any()
    fresh = AutoModelForCausalLM.from_pretrained(full[2].path).eval()
    again = collect(tmp_path / "f", fresh, full_plan, units[:1], settings=LEAN)
    assert not again.failed
    alone = read_scores(unit_path(tmp_path / "f", "scores", units[0])).logprob_sum
    assert found[3] == pytest.approx(alone, abs=1e-5)


def test_full_weights_that_stay_behind_are_refused(
    full: tuple[Checkpoint, ...], full_plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, first = FullSlot.load, []

    def stale(slot: FullSlot, checkpoint: Checkpoint) -> str:
        if not first:
            first.append(load(slot, checkpoint))
        return checkpoint.sha256  # claims to have landed

    monkeypatch.setattr(FullSlot, "load", stale)
    units = make_units({"positive": full})
    with pytest.raises(CheckpointError, match=r"hold different weights .* exactly the same"):
        collect(tmp_path / "r", tiny_llama(), full_plan, units, settings=LEAN)


def test_adapters_and_full_weights_are_not_mixed_in_one_collection(
    full: tuple[Checkpoint, ...],
    series: tuple[Checkpoint, ...],
    full_plan: Plan,
    tmp_path: Path,
) -> None:
    units = make_units({"positive": full, "negative": series})
    with pytest.raises(CheckpointError, match="adapters or full weights, not both"):
        collect(tmp_path / "r", tiny_llama(), full_plan, units, settings=LEAN)


def test_listing_is_numeric(series: tuple[Checkpoint, ...], tmp_path: Path) -> None:
    assert [item.step for item in list_series(tmp_path / "heads").checkpoints] == [0, 1, 2]
    assert torch.get_num_threads() >= 1
