"""Collections that are killed, stopped, doubled, moved or given bad values, as real processes."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from killing import collecting, contents, kill_many, make_run, temporary_files, whole_lines
from tiny_run import Probe

from critical_phase.cli.loading import StoredRun
from critical_phase.cli.run_folder import RunFolder
from critical_phase.probes import COLLECTORS, validate
from critical_phase.probes.collector import Arrays
from critical_phase.probes.residual import Residual


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the tiny model with six checkpoints per head, not collected."""
    return make_run(tmp_path_factory.mktemp("small"))


def copy_of(run: Path, to: Path) -> Path:
    shutil.copytree(run, to)
    return to


def test_runs_killed_at_random_moments_end_in_the_bytes_of_a_calm_one(
    small_run: Path, tmp_path: Path
) -> None:
    table = kill_many(small_run, tmp_path, kills=5, seed=1)
    assert table.kills == 5
    assert table.different == []


def test_two_collectors_on_one_run_lose_nothing_and_agree(small_run: Path, tmp_path: Path) -> None:
    calm, shared = (copy_of(small_run, tmp_path / n / "run") for n in ("calm", "shared"))
    with collecting() as first, collecting() as second:
        for nursery in (first, second):
            nursery.start(str(shared))
        assert (first.status(), second.status()) == (0, 0)
        first.start(str(calm))
        assert first.status() == 0
    assert contents(shared) == contents(calm)
    lines = (shared / "manifest.jsonl").read_bytes().splitlines()
    assert sorted(lines) == sorted(whole_lines(calm / "manifest.jsonl"))


def test_sigterm_ends_after_the_unit_in_hand_and_the_rest_resumes(
    small_run: Path, tmp_path: Path
) -> None:
    calm, run = (copy_of(small_run, tmp_path / n / "run") for n in ("calm", "run"))
    with collecting() as nursery:
        process = nursery.start(str(run))
        while not list(run.rglob("scores/*/step-*.h5")):
            time.sleep(0.01)
        os.kill(process, signal.SIGTERM)
        assert nursery.status() == 130
        files = list(run.rglob("step-*.h5"))
        assert 0 < len(files) < 26
        assert not temporary_files(run)
        for path in files:
            validate(path)
        for one in (run, calm):
            nursery.start(str(one))
            assert nursery.status() == 0
    assert contents(run) == contents(calm)


def test_a_run_may_move_and_have_any_name_between_two_calls(
    probe: Probe, small_run: Path, tmp_path: Path
) -> None:
    calm = copy_of(small_run, tmp_path / "calm" / "run")
    first = copy_of(small_run, tmp_path / "Läufe 漢字 (1)" / "run")
    assert probe("collect", first, "--checkpoints", "0,2:3").code == 0
    elsewhere = tmp_path / "disk"
    moved = first.rename(tmp_path / "run")
    (moved / "activations").rename(elsewhere)
    (moved / "activations").symlink_to(elsewhere)
    assert probe("collect", moved).out.startswith("collected 6, existing 7, failed 0")
    assert probe("collect", calm).code == 0
    files = [path.relative_to(calm) for path in calm.rglob("step-*.h5")]
    assert len(files) == 26
    assert all((moved / path).read_bytes() == (calm / path).read_bytes() for path in files)
    assert "26 of 26 files are sound, 26 hashes compared" in probe("validate", moved).out


def test_a_call_that_finds_everything_there_still_notes_the_layout(
    probe: Probe, collected: Path
) -> None:
    """A kill after the last file and before the record is what leaves such a run."""
    record = json.loads((collected / "run.json").read_text())
    noted = record.pop("collect")
    (collected / "run.json").write_text(json.dumps(record))
    assert probe("collect", collected).out.startswith("collected 0, existing 13")
    again = json.loads((collected / "run.json").read_text())["collect"]
    assert again == noted
    assert again["layout"] == "packed"


@pytest.fixture
def collected(small_run: Path, probe: Probe, tmp_path: Path) -> Path:
    run = copy_of(small_run, tmp_path / "run")
    assert probe("collect", run).code == 0
    return run


def test_every_flipped_bit_is_found_by_name(probe: Probe, collected: Path) -> None:
    rng, files = np.random.default_rng(0), sorted(collected.rglob("step-*.h5"))
    for path in rng.choice(np.array(files, dtype=object), size=3, replace=False):
        content = path.read_bytes()
        bit = int(rng.integers(0, 8 * len(content)))
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        for asked in (collected, path):
            shown = probe("validate", asked)
            assert shown.code != 0
            assert str(path) in shown.out
        path.write_bytes(content)
    assert probe("validate", collected).code == 0


def plant(monkeypatch: pytest.MonkeyPatch, in_call: Callable[[int], bool]) -> None:
    """Let the residual of layer 0, row 5 be NaN in some of the passes over all rows."""
    calls = [0]

    class Planted(Residual):
        def store(self, arrays: Arrays) -> None:
            super().store(arrays)
            if 5 in self._batch.rows:  # type: ignore[union-attr]
                calls[0] += 1
                if in_call(calls[0]):
                    arrays["residual"][1, 5, 0, 2] = float("nan")

    monkeypatch.setitem(COLLECTORS, "residual", Planted)


def test_a_step_with_values_that_are_no_numbers_is_reported_and_left_out_of_measures(
    probe: Probe, small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy_of(small_run, tmp_path / "run")
    plant(monkeypatch, lambda call: call == 4)  # base, then the positive head at 0, 1, 2
    text = "positive-step-00000002: 2 values are not finite, first in residual, layer 0, row 5"
    assert text in probe("collect", run).out
    assert text in probe("collect", run).out  # also when the file was there before
    assert probe("validate", run).code == 0
    arrays = StoredRun(RunFolder(run))
    assert arrays.activation_steps("positive").tolist() == [0, 1, 3, 4, 5]
    assert arrays.steps("positive").tolist() == [0, 1, 2, 3, 4, 5]
    path = arrays.residual("positive", 0, "question_end")
    assert np.isfinite(path).all()
    np.testing.assert_array_equal(arrays.residual_at("positive", 3, 0, "question_end"), path[2])
    shown = probe("analyze", run, "--draws", 20, "--permutations", 20)
    assert shown.code == 0, shown.err
    warnings = json.loads((run / "analysis/findings.json").read_text())["warnings"]
    assert any(note.startswith("positive, step 2: 2 activations are not") for note in warnings)
    similarity = json.loads((run / "analysis/similarity.json").read_text())
    for curve in similarity["curves"]:
        assert (2 in curve["steps"]) == (curve["head"] != "positive")


def test_a_base_with_values_that_are_no_numbers_leaves_no_measure_of_activations(
    probe: Probe, small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy_of(small_run, tmp_path / "run")
    plant(monkeypatch, lambda call: call == 1)
    assert "base-step-00000000: 2 values are not finite" in probe("collect", run).out
    arrays = StoredRun(RunFolder(run))
    assert arrays.layers == ()
    assert any("none of base can be used" in note for note in arrays.notes)


def test_values_that_are_no_numbers_but_were_not_stated_are_a_fault(
    probe: Probe, collected: Path
) -> None:
    path = sorted(collected.rglob("activations/*/step-*.h5"))[0]
    with h5py.File(path, "a") as file:
        file["residual"][0, 0, 0, 0] = np.nan
    (collected / "manifest.jsonl").unlink()
    shown = probe("validate", collected)
    assert shown.code != 0
    assert str(path) in shown.out
