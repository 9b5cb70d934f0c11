"""Adapters that do not reach the model are caught, however they got lost."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from critical_phase.checkpoints import AdapterSlot, Checkpoint, list_series
from critical_phase.errors import CheckpointError
from critical_phase.probes import CollectSettings, Plan, Unit, collect, make_units
from critical_phase.probes.landing import StaleAdapters, is_neutral

LEAN = CollectSettings(())


@pytest.fixture
def series(tmp_path: Path, make_adapters: Callable[..., Any]) -> tuple[Checkpoint, ...]:
    checkpoints: tuple[Checkpoint, ...] = make_adapters(tmp_path / "heads", "llama", (0, 1, 2))
    return checkpoints


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
    with pytest.raises(CheckpointError, match=r"differs from a fresh load|changes no logit"):
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


def test_listing_is_numeric(series: tuple[Checkpoint, ...], tmp_path: Path) -> None:
    assert [item.step for item in list_series(tmp_path / "heads").checkpoints] == [0, 1, 2]
    assert torch.get_num_threads() >= 1
