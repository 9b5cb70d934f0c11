"""A collection resumes, refuses what does not belong, and keeps what is finished."""

import errno
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from killed_writing import run_killed_at_write

from critical_phase.checkpoints import Checkpoint, file_sha256
from critical_phase.errors import CheckpointError, ConfigError, StoreError
from critical_phase.probes import (
    CollectSettings,
    Plan,
    Progress,
    Unit,
    collect,
    estimate,
    make_units,
    read_activations,
    read_attrs,
    read_scores,
    unit_path,
    validate,
)
from critical_phase.probes.leftovers import remove_leftovers

LEAN = CollectSettings(("residual",))


@pytest.fixture
def units(tmp_path: Path, make_adapters: Callable[..., Any]) -> tuple[Unit, ...]:
    series = make_adapters(tmp_path / "heads", "llama", (0, 1, 2))
    return make_units({"negative": series})


def contents(run: Path) -> dict[str, Any]:
    """Every dataset of every file of a run, as bytes."""
    found: dict[str, Any] = {}

    def take(path: Path, name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            raw = item.asstr()[()] if h5py.check_string_dtype(item.dtype) else item[()]
            found[f"{path.relative_to(run)}:{name}"] = np.asarray(raw).tolist()

    for path in sorted(run.rglob("*.h5")):
        with h5py.File(path, "r") as file:
            file.visititems(lambda name, item, at=path: take(at, name, item))
    return found


def test_units_are_the_base_and_then_each_head_in_step_order(units: tuple[Unit, ...]) -> None:
    assert [unit.name for unit in units] == [
        "base-step-00000000",
        "negative-step-00000000",
        "negative-step-00000001",
        "negative-step-00000002",
    ]


def test_a_run_holds_plan_files_manifest_and_provenance(
    units: tuple[Unit, ...], plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    seen: list[Progress] = []
    provenance = {"run_id": "r1", "seed": 3}
    report = collect(
        tmp_path, make_model("llama"), plan, units, provenance=provenance, progress=seen.append
    )
    assert (report.done, report.existing, report.failed, report.remaining) == (units, (), (), ())
    assert [p.finished for p in seen] == [1, 2, 3, 4]
    lines = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert len(lines) == 8
    assert all(file_sha256(tmp_path / line["file"]) == line["sha256"] for line in lines)
    for unit in units:
        for kind in ("scores", "activations"):
            summary = validate(unit_path(tmp_path, kind, unit))  # type: ignore[arg-type]
            assert (summary.head, summary.step, summary.rows) == (unit.head, unit.step, plan.rows)
    attrs = read_attrs(unit_path(tmp_path, "scores", units[3]))
    assert attrs["run_id"] == "r1"
    assert attrs["seed"] == 3
    assert attrs["plan_sha256"] == plan.sha256
    assert attrs["adapter_sha256"] == units[3].adapter_sha256
    assert attrs["checkpoint_uri"] == "heads/checkpoint-2"
    assert not [p for p in tmp_path.rglob("*") if p.name.endswith(".tmp")]


def test_an_untouched_adapter_gives_the_base_and_trained_ones_do_not(
    units: tuple[Unit, ...], plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    collect(tmp_path, make_model("llama"), plan, units, settings=LEAN)
    values = [read_activations(unit_path(tmp_path, "activations", u), "residual") for u in units]
    np.testing.assert_array_equal(values[0], values[1])
    assert np.abs(values[2] - values[0]).max() > 0.1
    assert np.abs(values[3] - values[2]).max() > 0.1


def test_repeating_does_nothing_and_order_does_not_matter(
    units: tuple[Unit, ...], plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    collect(first, make_model("llama"), plan, units)
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*.h5")}
    report = collect(first, make_model("llama"), plan, units)
    assert (report.done, report.existing) == ((), units)
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*.h5")} == before
    collect(second, make_model("llama"), plan, units[::-1])
    assert contents(first) == contents(second)


CHANGES = {
    "collectors": (
        LEAN,
        "collectors: stored residual, attention and sparsity, asked for residual",
    ),
    "store_dtype": (
        CollectSettings(store_dtype="float16"),
        "store_dtype: stored auto, asked for float16",
    ),
    "layout": (CollectSettings(layout="naive"), "layout: stored auto, asked for naive"),
    "positions": (
        CollectSettings(positions=("answer_end",)),
        "positions: stored the default, asked for answer_end",
    ),
    "pattern_rows": (
        CollectSettings(pattern_rows=(0, 1)),
        "pattern_rows: stored nothing, asked for 0 and 1",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_setting_is_refused_with_the_difference(
    change: str,
    units: tuple[Unit, ...],
    plan: Plan,
    make_model: Callable[..., Any],
    tmp_path: Path,
) -> None:
    settings, text = CHANGES[change]
    collect(tmp_path, make_model("llama"), plan, units[:1])
    before = contents(tmp_path)
    with pytest.raises(StoreError, match=f"in another way .*{text}") as raised:
        collect(tmp_path, make_model("llama"), plan, units, settings=settings)
    assert not re.search(r"None|[\[\]{}']", raised.value.args[0])
    assert contents(tmp_path) == before


def test_overwrite_replaces_what_was_made_in_another_way(
    units: tuple[Unit, ...], plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    collect(tmp_path, make_model("llama"), plan, units[:1])
    settings = CollectSettings(store_dtype="float16")
    collect(tmp_path, make_model("llama"), plan, units[:1], settings=settings, overwrite=True)
    with h5py.File(unit_path(tmp_path, "activations", units[0]), "r") as file:
        assert file["residual"].dtype == np.float16


def test_another_adapter_or_base_under_the_same_step_is_refused(
    units: tuple[Unit, ...], plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    collect(tmp_path, make_model("llama"), plan, units[2:3], settings=LEAN)
    swapped = replace(units[3], step=1)
    with pytest.raises(StoreError, match=r"adapter_sha256: stored .* weights of the checkpoint"):
        collect(tmp_path, make_model("llama"), plan, (swapped,), settings=LEAN)
    with pytest.raises(StoreError, match="base_sha256: stored"):
        collect(tmp_path, make_model("llama", seed=1), plan, units[2:3], settings=LEAN)


def test_deleted_activations_come_back_and_scores_stay(
    units: tuple[Unit, ...], plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    collect(tmp_path, make_model("llama"), plan, units)
    before = contents(tmp_path)
    kept = unit_path(tmp_path, "scores", units[2])
    stamp = kept.stat().st_mtime_ns
    unit_path(tmp_path, "activations", units[2]).unlink()
    unit_path(tmp_path, "activations", units[0]).unlink()
    report = collect(tmp_path, make_model("llama"), plan, units)
    assert {unit.name for unit in report.done} == {units[0].name, units[2].name}
    assert kept.stat().st_mtime_ns == stamp
    assert contents(tmp_path) == before


def test_scores_alone_are_a_subset_of_the_whole(
    units: tuple[Unit, ...], plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    collect(tmp_path, make_model("llama"), plan, units, settings=CollectSettings(()))
    assert not (tmp_path / "activations").exists()
    alone = read_scores(unit_path(tmp_path, "scores", units[3])).logprob_sum
    stamp = unit_path(tmp_path, "scores", units[3]).stat().st_mtime_ns
    report = collect(tmp_path, make_model("llama"), plan, units)
    assert len(report.done) == 4
    assert unit_path(tmp_path, "scores", units[3]).stat().st_mtime_ns == stamp
    assert np.isfinite(alone).all()


def test_a_failing_unit_is_noted_and_the_rest_goes_on(
    units: tuple[Unit, ...], plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    assert units[2].checkpoint is not None
    weights = units[2].checkpoint.path / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-40])
    report = collect(tmp_path, make_model("llama"), plan, (*units[:2], units[3], units[2]))
    assert [failure.unit for failure in report.failed] == [units[2]]
    assert len(report.done) == 3
    noted = json.loads(report.failed[0].path.read_text())
    assert noted["unit"] == "negative-step-00000001"
    assert "cannot read the adapter" in noted["message"]
    assert "Traceback" in noted["traceback"]
    weights.write_bytes(whole)
    again = collect(tmp_path, make_model("llama"), plan, units)
    assert again.done == (units[2],)
    assert not report.failed[0].path.exists()


def test_fail_fast_raises_the_first_error(
    units: tuple[Unit, ...], plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    wrong = replace(
        units[3],
        checkpoint=Checkpoint(2, units[3].checkpoint.path, "0" * 64),  # type: ignore[union-attr]
    )
    with pytest.raises(CheckpointError, match="did not land"):
        collect(
            tmp_path, make_model("llama"), plan, (units[2], wrong), settings=LEAN, fail_fast=True
        )


def test_a_diverged_model_is_a_failed_unit_and_writes_no_number(
    plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    model = make_model("llama")
    model.lm_head.weight.data[3] = float("nan")
    settings = CollectSettings((), layout="naive")
    report = collect(tmp_path, model, plan, (Unit("base", 0),), settings=settings)
    assert "the model gives nan" in report.failed[0].message
    assert not list(tmp_path.rglob("*.h5"))


def test_float16_refuses_what_it_cannot_hold_and_names_it(
    plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    model = make_model("llama")
    model.model.embed_tokens.weight.data.mul_(1e6)
    settings = CollectSettings(("residual",), store_dtype="float16")
    report = collect(tmp_path, model, plan, (Unit("base", 0),), settings=settings)
    assert "float16 cannot hold the residual of layer -1, row" in report.failed[0].message


def test_bfloat16_models_are_stored_without_loss(
    plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    model = make_model("llama").to(torch.bfloat16)
    report = collect(tmp_path, model, plan, (Unit("base", 0),), fail_fast=True)
    path = unit_path(tmp_path, "activations", report.done[0])
    with h5py.File(path, "r") as file:
        assert file["residual"].attrs["storage_dtype"] == "bfloat16"
        assert file["residual"].id.get_type().get_size() == 2
    values = torch.from_numpy(read_activations(path, "residual"))
    torch.testing.assert_close(values, values.bfloat16().float(), rtol=0, atol=0)
    row = read_activations(path, "attention_row")
    np.testing.assert_allclose(row.sum(-1), 1, atol=1e-5)
    validate(path)


def test_a_stop_ends_between_units_and_the_rest_can_be_resumed(
    units: tuple[Unit, ...], plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    finished: list[Progress] = []
    report = collect(
        tmp_path,
        make_model("llama"),
        plan,
        units,
        settings=LEAN,
        progress=finished.append,
        stop=lambda: len(finished) >= 2,
    )
    # The third was being measured while the second was written.
    assert (report.done, report.remaining) == (units[:3], units[3:])
    again = collect(tmp_path, make_model("llama"), plan, units, settings=LEAN)
    assert (again.existing, again.done) == (units[:3], units[3:])


def test_a_full_disk_ends_the_call_and_keeps_what_is_finished(
    units: tuple[Unit, ...],
    plan: Plan,
    make_model: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    synced: list[Path] = []

    def full(path: Path) -> None:
        synced.append(path)
        if len([p for p in synced if ".h5." in p.name]) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("critical_phase.atomic.sync_file", full)
        with pytest.raises(StoreError, match="the disk is full"):
            collect(tmp_path, make_model("llama"), plan, units, settings=LEAN)
    assert len(list(tmp_path.rglob("*.h5"))) == 3
    assert not [p for p in tmp_path.rglob("*.tmp")]
    for path in tmp_path.rglob("*.h5"):
        validate(path)
    report = collect(tmp_path, make_model("llama"), plan, units, settings=LEAN)
    assert (report.existing, report.done) == (units[:1], units[1:])


COLLECTING = """
from pathlib import Path
from tiny_families import build_model
from tiny_plan import build_plan
from critical_phase.checkpoints import list_series
from critical_phase.probes import collect, make_units
assert "transformer_lens" not in sys.modules, "importing the room loads transformer_lens"
units = make_units({{"negative": list_series(Path({heads!r})).checkpoints}})
collect(Path({run!r}), build_model("llama"), build_plan(), units)
"""


def test_a_killed_run_resumes_to_the_very_same_values(
    units: tuple[Unit, ...], plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    run_killed_at_write(6, COLLECTING.format(heads=str(tmp_path / "heads"), run=str(run)))
    assert 0 < len(list(run.rglob("*.h5"))) < 8
    assert len(list(run.rglob("*.tmp"))) == 1
    report = collect(run, make_model("llama"), plan, units)
    assert report.existing
    assert report.done
    assert not list(run.rglob("*.tmp"))
    collect(whole, make_model("llama"), plan, units)
    assert contents(run) == contents(whole)


def test_leftovers_of_living_processes_and_other_machines_stay(tmp_path: Path) -> None:
    host = os.uname().nodename
    kept = [tmp_path / f".a.h5.{host}.{os.getpid()}.tmp", tmp_path / ".a.h5.elsewhere.1.tmp"]
    gone = tmp_path / f".a.h5.{host}.999999999.tmp"
    for path in (*kept, gone):
        path.touch()
    assert remove_leftovers(tmp_path) == (gone,)
    assert all(path.exists() for path in kept)


def test_a_manifest_line_cut_short_is_written_again(
    units: tuple[Unit, ...], plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    collect(tmp_path, make_model("llama"), plan, units[:1], settings=LEAN)
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(manifest.read_text()[:-30])
    collect(tmp_path, make_model("llama"), plan, units[:1], settings=LEAN)
    lines = manifest.read_text().splitlines()
    assert len(lines) == 3
    assert json.loads(lines[2])["kind"] == "scores"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (CollectSettings(("neurons",)), "no collector 'neurons'"),
        (CollectSettings(pattern_rows=(99,)), "pattern row 99 is not in the plan"),
        (CollectSettings(batch_tokens=0), "batch_tokens is 0"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(
    settings: CollectSettings,
    text: str,
    plan: Plan,
    make_model: Callable[..., Any],
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match=text):
        collect(tmp_path, make_model("llama"), plan, (Unit("base", 0),), settings=settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("settings", [CollectSettings(pattern_rows=(0,)), CollectSettings(())])
def test_the_estimate_is_near_the_truth_and_touches_nothing(
    settings: CollectSettings,
    units: tuple[Unit, ...],
    plan: Plan,
    make_model: Callable[..., Any],
    tmp_path: Path,
) -> None:
    run, model = tmp_path / "run", make_model("llama")
    before = estimate(run, model.config, plan, units, settings=settings)
    assert not run.exists()
    assert (before.existing, before.bytes_needed) == ((), 4 * before.bytes_per_unit)
    collect(run, model, plan, units[:2], settings=settings)
    after = estimate(run, model.config, plan, units, settings=settings)
    assert after.existing == units[:2]
    assert after.bytes_needed == 2 * after.bytes_per_unit
    assert after.fits
    taken = sum(path.stat().st_size for path in run.rglob("*.h5")) / 2
    assert 0.7 < taken / after.bytes_per_unit < 1.4
