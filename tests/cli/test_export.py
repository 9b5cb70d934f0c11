"""`probe export`, `validate` and `status` on a collected run."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_run import Probe

from critical_phase.probes import read_activations, read_scores


@pytest.fixture
def run(collected_run: Path, tmp_path: Path) -> Path:
    """Three checkpoints of one head, and the base."""
    run = tmp_path / "run"
    ignored = shutil.ignore_patterns("analysis", "report", "states", "contexts")
    shutil.copytree(collected_run, run, ignore=ignored)
    for file in run.glob("*/*/step-*.h5"):
        if file.parent.name == "positive" or int(file.stem[5:]) > 2:
            file.unlink()
    (run / "manifest.jsonl").unlink()
    return run


def test_a_run_is_exported_with_its_plan_and_the_command_continues(
    probe: Probe, run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ("export", run, "--to", out, "--format", "npz")
    shown = probe(*command, "--checkpoints", "0,2", "--json")
    assert (shown.code, json.loads(shown.out)["done"]) == (0, 6)
    file = "negative/step-00000002"
    with np.load(out / f"activations/{file}.npz") as arrays:
        expected = read_activations(run / f"activations/{file}.h5", "residual")
        np.testing.assert_array_equal(arrays["residual"], expected)
    with np.load(out / f"scores/{file}.npz") as arrays:
        expected = read_scores(run / f"scores/{file}.h5").logprob_sum
        np.testing.assert_array_equal(arrays["logprob_sum"], expected)
    assert (out / "plan.csv").read_bytes() == (run / "plan.csv").read_bytes()
    assert "exported 2, existing 6, failed 0" in probe(*command).out


def test_export_chooses_datasets_and_heads_and_says_what_it_leaves_out(
    probe: Probe, run: Path, tmp_path: Path
) -> None:
    command = ("export", run, "--to", tmp_path / "out", "--format", "hdf5", "--heads")
    shown = probe(*command, "negative", "--datasets", "summary, sparsity")
    assert "exported 4, existing 0, failed 0, without these datasets 4" in shown.out
    assert "nothing is stored of other; stored: base, negative" in probe(*command, "other").err
    shown = probe(*command, "negative", "--datasets", "nothing")
    assert (shown.code, "no file has a dataset 'nothing'" in shown.err) == (2, True)


def test_a_damaged_file_costs_no_other_export(probe: Probe, run: Path, tmp_path: Path) -> None:
    damaged = run / "activations/negative/step-00000001.h5"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    shown = probe("export", run, "--to", tmp_path / "out", "--format", "safetensors")
    assert shown.code == 3
    assert "exported 7, existing 0, failed 1" in shown.out
    assert str(damaged) in shown.out


@pytest.mark.parametrize("inside", ["", "export"])
def test_copies_do_not_go_into_the_run_itself(probe: Probe, run: Path, inside: str) -> None:
    shown = probe("export", run, "--to", run / inside, "--format", "hdf5")
    assert (shown.code, "a folder beside the run" in shown.err) == (2, True)
    assert not (run / "export").exists()


def test_validate_names_every_fault_in_one_line(probe: Probe, run: Path, tmp_path: Path) -> None:
    assert probe("validate", run, run / "scores/base/step-00000000.h5").code == 0
    damaged = run / "scores/negative/step-00000001.h5"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    (run / "scores/negative/notes.txt").write_text("mine")
    shown = probe("validate", run)
    assert shown.code == 1
    first, second, *_, last = shown.out.splitlines()
    assert first.startswith(f"{damaged}: damaged: ")
    assert second.startswith(f"{run}/scores/negative/notes.txt: foreign: ")
    assert last == "7 of 8 files are sound, no hash to compare with, 3 adapters compared"
    found = json.loads(probe("validate", run, "--json").out)
    assert [one["problem"] for one in found["problems"]] == ["damaged", "foreign"]
    assert len(found["sound"]) == 7


def test_status_counts_what_is_missing_and_failed_by_head(probe: Probe, run: Path) -> None:
    (run / "activations/negative/step-00000001.h5").unlink()
    (run / "failed").mkdir()
    (run / "failed/collect-negative-step-00000003.json").write_text("{}")
    context = run / "contexts/shots-1/scores/base"
    context.mkdir(parents=True)
    shutil.copy(run / "scores/base/step-00000000.h5", context)
    found = json.loads(probe("status", run, "--json").out)
    negative = next(one for one in found["heads"] if one["head"] == "negative")
    assert negative["scored"] == [0, 1, 2]
    assert negative["missing"] == list(range(3, 13))
    assert (negative["missing_activations"], negative["failed"]) == ([1], [3])
    stored = [*run.glob("scores/negative/*"), *run.glob("activations/negative/*")]
    assert negative["bytes"] == sum(file.stat().st_size for file in stored)
    shots = {one["head"]: one for one in found["context_heads"]["shots-1"]}
    assert (shots["base"]["missing"], shots["negative"]["missing"]) == ([], [0, 1, 2])
    shown = probe("status", run).out
    assert "missing steps 3-12, without activations at step 1, failed step 3" in shown
    assert "context shots-1: 1 scored" in shown
