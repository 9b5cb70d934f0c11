"""Files of side effects resume like any others, and say what is wrong with them."""

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from killed_writing import run_killed_at_write
from tiny_effects import TEXTS, build_effects_plan, contents, examples, read, save_units

from critical_phase.errors import CheckpointError, StoreError
from critical_phase.probes import (
    EffectsPlan,
    Unit,
    draw_for_gradients,
    encode_texts,
    read_scores,
    side_effects,
    unit_path,
    validate,
)
from critical_phase.probes.slots import ModelSlot


@pytest.fixture
def units(tmp_path: Path) -> tuple[Unit, ...]:
    return save_units(tmp_path / "heads")


@pytest.fixture
def effects_plan() -> EffectsPlan:
    return build_effects_plan()


def test_repeating_does_nothing_and_order_does_not_matter(
    units: tuple[Unit, ...],
    effects_plan: EffectsPlan,
    make_model: Callable[..., Any],
    tmp_path: Path,
) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    side_effects(first, make_model("llama"), effects_plan, units, fail_fast=True)
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*.h5")}
    again = side_effects(first, make_model("llama"), effects_plan, units)
    assert (again.done, again.existing) == ((), units)
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*.h5")} == before
    side_effects(second, make_model("llama"), effects_plan, units[::-1])
    assert contents(first, units) == contents(second, units)


def test_other_texts_or_examples_are_refused_with_the_difference(
    units: tuple[Unit, ...],
    effects_plan: EffectsPlan,
    tokenizer: Any,
    make_model: Callable[..., Any],
    tmp_path: Path,
) -> None:
    side_effects(tmp_path, make_model("llama"), effects_plan, units[:2], fail_fast=True)
    texts = replace(effects_plan, texts=encode_texts(TEXTS[:2], tokenizer, window=200))
    with pytest.raises(StoreError, match=r"another way .*texts_sha256: stored"):
        side_effects(tmp_path, make_model("llama"), texts, units[:2])
    drawn = draw_for_gradients(examples(), 4, np.random.default_rng(1))
    fewer = replace(effects_plan, examples={"negative": drawn})
    with pytest.raises(StoreError, match=r"another way .*examples_sha256: stored"):
        side_effects(tmp_path, make_model("llama"), fewer, units[:2])
    done = side_effects(tmp_path, make_model("llama"), fewer, units[:2], overwrite=True).done
    assert done == units[1:2]
    assert read(tmp_path, units[1])["gradient_sq"].shape == (4,)


def test_a_failing_unit_is_noted_and_the_rest_goes_on(
    units: tuple[Unit, ...],
    effects_plan: EffectsPlan,
    make_model: Callable[..., Any],
    tmp_path: Path,
) -> None:
    assert units[2].checkpoint is not None
    weights = units[2].checkpoint.path / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-40])
    report = side_effects(tmp_path, make_model("llama"), effects_plan, units)
    assert [failure.unit for failure in report.failed] == [units[2]]
    noted = json.loads((tmp_path / "failed/effects-negative-step-00000001.json").read_text())
    assert noted["command"] == "effects"
    weights.write_bytes(whole)
    again = side_effects(tmp_path, make_model("llama"), effects_plan, units)
    assert (again.done, len(again.existing)) == ((units[2],), 3)
    assert not report.failed[0].path.exists()


def test_a_diverged_model_writes_no_number(
    effects_plan: EffectsPlan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    model = make_model("llama")
    model.lm_head.weight.data[3] = float("nan")
    report = side_effects(tmp_path, model, effects_plan, (Unit("base", 0),))
    assert "the model gives nan as to_base of 'q0'" in report.failed[0].message
    assert not list(tmp_path.rglob("*.h5"))


def test_adapters_that_do_not_reach_the_model_are_refused(
    units: tuple[Unit, ...],
    effects_plan: EffectsPlan,
    make_model: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = ModelSlot.holding
    monkeypatch.setattr(ModelSlot, "holding", lambda slot, unit: held(slot, units[3]))
    plan = replace(effects_plan, examples=None)
    with pytest.raises(CheckpointError, match=r"hold different adapters .* exactly the same"):
        side_effects(tmp_path, make_model("llama"), plan, units[2:])


def test_a_full_disk_ends_the_call_and_keeps_what_is_finished(
    units: tuple[Unit, ...],
    effects_plan: EffectsPlan,
    make_model: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    synced: list[Path] = []

    def full(path: Path) -> None:
        synced.append(path)
        if len(synced) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("critical_phase.atomic.sync_file", full)
        with pytest.raises(StoreError, match="the disk is full"):
            side_effects(tmp_path, make_model("llama"), effects_plan, units)
    assert len(list(tmp_path.rglob("*.h5"))) == 2
    assert not list(tmp_path.rglob("*.tmp"))
    report = side_effects(tmp_path, make_model("llama"), effects_plan, units)
    assert (len(report.existing), len(report.done)) == (2, 2)


MEASURING = """
from dataclasses import replace
from pathlib import Path
from tiny_effects import build_effects_plan
from tiny_families import build_model
from critical_phase.checkpoints import list_series
from critical_phase.probes import make_units, side_effects
units = make_units({{"negative": list_series(Path({heads!r})).checkpoints}})
plan = replace(build_effects_plan(), examples=None)
side_effects(Path({run!r}), build_model("llama"), plan, units)
"""


def test_a_killed_measurement_resumes_to_the_very_same_values(
    units: tuple[Unit, ...],
    effects_plan: EffectsPlan,
    make_model: Callable[..., Any],
    tmp_path: Path,
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    run_killed_at_write(3, MEASURING.format(heads=str(tmp_path / "heads"), run=str(run)))
    assert len(list(run.rglob("*.h5"))) == 2
    assert len(list(run.rglob("*.tmp"))) == 1
    plan = replace(effects_plan, examples=None)
    report = side_effects(run, make_model("llama"), plan, units)
    assert (len(report.existing), len(report.done)) == (2, 2)
    assert not list(run.rglob("*.tmp"))
    side_effects(whole, make_model("llama"), plan, units)
    assert contents(run, units) == contents(whole, units)


def test_a_breach_of_the_format_is_named(
    units: tuple[Unit, ...],
    effects_plan: EffectsPlan,
    make_model: Callable[..., Any],
    tmp_path: Path,
) -> None:
    side_effects(tmp_path, make_model("llama"), effects_plan, units[1:2], fail_fast=True)
    path = unit_path(tmp_path, "effects", units[1])
    with h5py.File(path, "a") as file:
        del file["kl_text_reverse"], file["gradient_sq"], file.attrs["texts_sha256"]
        file["kl_question"][0] = -1.0
    with pytest.raises(StoreError) as caught:
        validate(path)
    for problem in (
        "no attribute texts_sha256",
        "no dataset kl_text_reverse",
        "no dataset gradient_sq",
        "kl_question: a value is negative",
    ):
        assert problem in str(caught.value)


def test_another_kind_of_file_is_refused(
    units: tuple[Unit, ...],
    effects_plan: EffectsPlan,
    make_model: Callable[..., Any],
    tmp_path: Path,
) -> None:
    side_effects(tmp_path, make_model("llama"), effects_plan, units[:1], fail_fast=True)
    with pytest.raises(StoreError, match=r"of the convention 'probe-scores/1\.0'"):
        read_scores(unit_path(tmp_path, "effects", units[0]))
