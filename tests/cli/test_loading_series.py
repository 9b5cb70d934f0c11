"""Heads whose checkpoints lie elsewhere, hold whole models, or are gone."""

import json
import shutil
from pathlib import Path

import pytest

from critical_phase.analysis import AnalysisSettings, to_json
from critical_phase.analysis.updates.weight_spaces import weight_spaces
from critical_phase.analysis.updates.weights import weights
from critical_phase.checkpoints import open_source
from critical_phase.cli import stored_series
from critical_phase.cli.loading import StoredRun
from critical_phase.cli.run_folder import RunFolder
from critical_phase.cli.series_files import head_entry, write_elsewhere


@pytest.fixture
def run(collected_run: Path, tmp_path: Path) -> RunFolder:
    """A run whose negative head lies in another folder."""
    copy, away = RunFolder(tmp_path / "run"), tmp_path / "elsewhere"
    shutil.copytree(collected_run, copy.path)
    shutil.move(copy.head("negative"), away)
    write_elsewhere(copy, {"negative": head_entry(open_source(str(away)), None)})
    return copy


def test_adapters_elsewhere_are_read_like_our_own(run: RunFolder, collected_run: Path) -> None:
    ours, theirs = StoredRun(RunFolder(collected_run)), StoredRun(run)
    one, other = ours.adapters("negative"), theirs.adapters("negative")
    assert len(one) == len(other) == 13
    assert (
        one[4]["model.layers.0.mlp.up_proj"][0] == other[4]["model.layers.0.mlp.up_proj"][0]
    ).all()
    assert theirs.training_log("negative")["gradient_norm"].size == 12


def test_weights_do_not_depend_on_whether_adapters_are_held_or_read_on_demand(
    collected_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays, settings = StoredRun(RunFolder(collected_run)), AnalysisSettings()
    measures = (weights, weight_spaces)
    assert isinstance(arrays.adapters("negative")[0], dict)
    held = [json.dumps(to_json(measure(arrays, settings))) for measure in measures]
    monkeypatch.setattr(stored_series, "HELD_BYTES", 0)
    assert not isinstance(arrays.adapters("negative")[0], dict)
    assert [json.dumps(to_json(measure(arrays, settings))) for measure in measures] == held


def test_checkpoints_that_are_gone_leave_weights_out_with_a_note(
    run: RunFolder, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "elsewhere")
    arrays = StoredRun(run)
    assert arrays.adapters("negative") == []
    assert any(note.startswith("negative: weights are left out") for note in arrays.notes)
    result = weights(arrays, AnalysisSettings())
    assert result.warnings == (
        "no adapters of head negative were given: its weights are not described",
    )


def test_whole_models_are_not_hashed_again_and_have_no_factors(run: RunFolder) -> None:
    saved = StoredRun(run)._series["negative"].checkpoints
    noted = {str(item.step): {"sha256": item.sha256, "path": "/nowhere"} for item in saved}
    entry = {"location": "/nowhere", "kind": "full", "adapter_name": None, "checkpoints": noted}
    write_elsewhere(run, {"negative": entry})
    arrays = StoredRun(run)
    assert arrays.adapters("negative") == []
    assert len(arrays.adapters("positive")) == 13
