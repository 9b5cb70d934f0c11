"""`probe llc` from the command line, and what an analysis reads of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_run import Probe, copy_scored

from critical_phase.analysis import AnalysisSettings
from critical_phase.analysis.updates.local_learning import local_learning
from critical_phase.cli.loading import StoredRun
from critical_phase.cli.run_folder import open_run
from critical_phase.cli.stored_llc import read_llc
from critical_phase.errors import StoreError

QUICK = ("--lr", 1e-4, "--gamma", 100, "--burn-in", 1, "--draws", 2, "--chains", 2)
STEPS = ("--checkpoints", "0,6")


@pytest.fixture
def run(collected_run: Path, tmp_path: Path) -> Path:
    """A trained and scored run of its own."""
    return copy_scored(collected_run, tmp_path / "run")


def test_a_series_is_sampled_resumed_and_read(probe: Probe, run: Path) -> None:
    shown = probe("llc", run, *QUICK, *STEPS)
    assert (shown.code, "sampled 2, existing 0, failed 0" in shown.out) == (0, True)
    again = probe("llc", run, *QUICK, "--checkpoints", "0,6,12")
    assert "sampled 1, existing 2, failed 0" in again.out
    record = json.loads((run / "run.json").read_text())
    assert record["llc"]["negative"]["n"] == 96
    found = read_llc(run, "negative")
    assert found is not None
    assert found.steps.tolist() == [0, 6, 12]
    assert found.chains.shape == (3, 2)
    assert found.random is not None
    assert found.random[0] == 12
    assert found.settings["chosen_by"] == "given"
    assert found.settings["reference_step"] == 12
    assert np.isfinite(found.loss).all()
    result = local_learning(StoredRun(open_run(run)), AnalysisSettings())
    assert [curve.id for curve in result.curves] == ["llc.negative"]
    assert any("no learning coefficients of the positive head" in t for t in result.warnings)


def test_other_settings_need_overwrite_and_a_dry_run_touches_nothing(
    probe: Probe, run: Path
) -> None:
    assert "12 training examples, 2 chains of 3 steps" in probe(
        "llc", run, *QUICK, *STEPS, "--examples", 12, "--dry-run"
    ).out  # fmt: skip
    assert not (run / "llc").exists()
    probe("llc", run, *QUICK, *STEPS, "--examples", 12)
    shown = probe("llc", run, *QUICK, *STEPS, "--examples", 12, "--sample", "b")
    assert shown.code == 4
    assert "its sampled is 'factors', asked for 'b'" in shown.err
    shown = probe("llc", run, *QUICK, *STEPS, "--examples", 12, "--sample", "b", "--overwrite")
    assert "(b)" in shown.out
    assert "sampled 2" in shown.out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--lr", 1e-4), "only one of them is given"),
        (("--examples", 97), "97 examples are asked for, but the negative head saw 96"),
    ],
)
def test_what_cannot_be_sampled_is_refused(
    probe: Probe, run: Path, given: tuple[object, ...], said: str
) -> None:
    shown = probe("llc", run, *given)
    assert shown.code == 2
    assert said in shown.err


def test_a_head_that_notes_no_examples_is_refused(probe: Probe, run: Path) -> None:
    (run / "heads/negative/examples.csv").unlink()
    shown = probe("llc", run, *QUICK)
    assert shown.code == 2
    assert "does not say what it was trained on" in shown.err


def test_files_of_other_adapters_settings_or_damage_are_named(probe: Probe, run: Path) -> None:
    probe("llc", run, *QUICK, *STEPS, "--examples", 12)
    path = run / "llc/negative/step-00000006.json"
    whole = json.loads(path.read_text())
    other = {**whole, "key": {**whole["key"], "gamma": 7.0}}
    path.write_text(json.dumps(other))
    with pytest.raises(StoreError, match=r"gamma is 7\.0 here and 100\.0 in step-00000000"):
        read_llc(run, "negative")
    changed = {**whole, "key": {**whole["key"], "adapter_sha256": "0" * 64}}
    path.write_text(json.dumps(changed))
    with pytest.raises(StoreError, match="around another adapter than the one saved now"):
        StoredRun(open_run(run))
    path.write_text("{")
    with pytest.raises(StoreError, match="cannot read the learning coefficients"):
        read_llc(run, "negative")
    assert read_llc(run, "positive") is None
