"""What was collected of attention heads reaches the analysis of a run."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_run import Probe

from critical_phase.analysis import AnalysisSettings, analyze
from critical_phase.cli.loading import StoredRun
from critical_phase.cli.run_folder import RunFolder
from critical_phase.cli.stored_heads import has_norms, stored_heads
from critical_phase.probes import read_activations

QUICK = AnalysisSettings(draws=50, permutations=20, smooth_draws=20)
MEASURES = ("head_outputs", "head_importance")
STEPS = (0, 12)


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> Path:
    target = tmp_path / trained_run.name
    shutil.copytree(trained_run, target, ignore=shutil.ignore_patterns("activations", "scores"))
    return target


def collect(probe: Probe, run: Path, *asked: str) -> None:
    steps = ",".join(map(str, STEPS))
    done = probe("collect", run, "--checkpoints", steps, "--collect", ",".join(asked))
    assert done.code == 0, done.err


def test_norms_and_importance_are_those_of_the_files(probe: Probe, run: Path) -> None:
    collect(probe, run, "head_output", "head_importance")
    arrays = StoredRun(RunFolder(run))
    found = arrays.head_values("negative")
    assert set(found) == {"output", "write", "importance"}
    path = run / "activations" / "negative" / "step-00000012.h5"
    for name, dataset in (("output", "head_output_norm"), ("write", "head_write_norm")):
        stored = read_activations(path, dataset)[:, :, 1]  # block, row, attention head
        np.testing.assert_array_equal(found[name][1], stored.swapaxes(1, 2))
    slopes = read_activations(path, "head_importance")
    np.testing.assert_array_equal(found["importance"][1], slopes.swapaxes(1, 2))
    result = analyze(arrays, QUICK, measures=MEASURES)
    assert not result.failed
    for name in MEASURES:
        assert len(result.measures[name].maps) == 4
        assert not any("not collected" in text for text in result.measures[name].warnings)


def test_what_was_not_read_at_the_end_of_the_answer_is_not_offered() -> None:
    def stack(name: str, layer: None, part: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        return part(np.arange(24.0).reshape(2, 3, 2, 2))[None]

    norms = ("head_output_norm", "head_write_norm")
    found = stored_heads((*norms, "residual"), ("answer_end", "answer_mean"), stack)
    assert tuple(found) == ("output", "write")
    assert found["write"][0, 1].tolist() == [[12, 16, 20], [13, 17, 21]]
    assert not stored_heads(norms, ("question_end",), stack)
    assert not stored_heads(("residual",), (), stack)
    assert not has_norms(("residual", "head_importance"))
