"""`probe curvature` from the command line, and what an analysis reads of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_run import Probe, copy_scored

from critical_phase.analysis import AnalysisSettings
from critical_phase.analysis.updates.curvature import curvature
from critical_phase.cli.loading import StoredRun
from critical_phase.cli.run_folder import open_run
from critical_phase.cli.stored_curvature import read_curvature
from critical_phase.errors import StoreError

QUICK = ("--draws", 1, "--samples", 2, "--examples", 4, "--products", 3)
STEPS = ("--checkpoints", "8,12")
NEGATIVE = ("--heads", "negative")


@pytest.fixture
def run(collected_run: Path, tmp_path: Path) -> Path:
    """A trained and scored run of its own."""
    return copy_scored(collected_run, tmp_path / "run")


def test_both_heads_are_measured_taken_up_and_read(probe: Probe, run: Path) -> None:
    shown = probe("curvature", run, *QUICK, "--checkpoints", "8")
    assert (shown.code, "measured 2, existing 0, failed 0" in shown.out) == (0, True)
    again = probe("curvature", run, *QUICK, "--checkpoints", "6,8", *NEGATIVE)
    assert "measured 1, existing 1, failed 0" in again.out
    noted = json.loads((run / "run.json").read_text())["curvature"]["negative"]
    assert noted["samples"] == {"negative": [4, 4]}
    found = read_curvature(run, "negative")
    assert found is not None
    assert found.steps.tolist() == [6, 8]
    assert len(found.questions) == found.fisher.shape[1] == 30
    assert np.isfinite(found.sharpness).all()
    kept = np.isfinite(found.preconditioned).all(axis=1).tolist()
    assert kept == [False, True]  # states are kept at powers of two
    assert found.random is not None
    assert found.random.step == 12
    result = curvature(StoredRun(open_run(run)), AnalysisSettings())
    assert {curve.id for curve in result.curves} >= {
        "fisher_trace.positive", "fisher_trace.negative", "preconditioned_sharpness.negative",
    }  # fmt: skip
    scaled = next(c for c in result.curves if c.id == "preconditioned_sharpness.negative")
    assert scaled.references == [{"label": "38/lr", "value": pytest.approx(38 / 0.05)}]


def test_other_settings_need_overwrite_and_a_dry_run_touches_nothing(
    probe: Probe, run: Path
) -> None:
    shown = probe("curvature", run, *QUICK, "--dry-run").out
    assert "negative: 2 checkpoints: 0, 8; samples of 4, 4 examples" in shown
    assert "30 of 30 questions, 1 drawn answers each" in shown
    assert not (run / "curvature").exists()
    few = ("--questions", 5, "--samples", 0, "--checkpoints", "6", *NEGATIVE)
    probe("curvature", run, *few, "--draws", 1)
    shown = probe("curvature", run, *few, "--draws", 2)
    assert shown.code == 4
    assert "its draws is 1, asked for 2" in shown.err
    assert "measured 1" in probe("curvature", run, *few, "--draws", 2, "--overwrite").out
    found = read_curvature(run, "negative")
    assert found is not None
    assert found.sharpness.shape == (1, 0)
    assert len(found.questions) == 5


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--samples", 1), "one sample of examples gives sharpness without an interval"),
        (("--examples", 25), "100 examples are asked for, but the positive head saw 96"),
        (("--heads", "neither"), "input should be 'positive' or 'negative'"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    probe: Probe, run: Path, given: tuple[object, ...], said: str
) -> None:
    shown = probe("curvature", run, *given)
    assert shown.code == 2
    assert said in shown.err


def test_a_head_that_notes_no_examples_says_how_to_go_on(probe: Probe, run: Path) -> None:
    (run / "heads/negative/examples.csv").unlink()
    shown = probe("curvature", run, *QUICK, *NEGATIVE)
    assert shown.code == 2
    assert "does not say what it was trained on" in shown.err
    assert "--samples 0 leaves sharpness out" in shown.err


def test_files_of_other_adapters_settings_or_damage_are_named(probe: Probe, run: Path) -> None:
    probe("curvature", run, "--draws", 1, "--samples", 0, *STEPS, *NEGATIVE)
    path = run / "curvature/negative/step-00000008.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({**whole, "key": {**whole["key"], "draws": 7}}))
    with pytest.raises(StoreError, match="draws is 1 here and 7 in step-00000008"):
        read_curvature(run, "negative")
    path.write_text(json.dumps({**whole, "questions": whole["questions"][::-1]}))
    with pytest.raises(StoreError, match=r"cannot read the curvature: .*different questions"):
        read_curvature(run, "negative")
    changed = {**whole, "key": {**whole["key"], "adapter_sha256": "0" * 64}}
    path.write_text(json.dumps(changed))
    with pytest.raises(StoreError, match="measured at another adapter than the one saved now"):
        StoredRun(open_run(run))
    path.write_text("[]")
    with pytest.raises(StoreError, match="it holds no JSON object"):
        read_curvature(run, "negative")
    assert read_curvature(run, "positive") is None
