"""`probe status` says what is true of a run before, during and after its collection."""

import json
import os
import shutil
import socket
import time
from pathlib import Path

import pytest
from tiny_run import Probe

DAY_S = 86_400


@pytest.fixture
def uncollected(trained_run: Path, tmp_path: Path) -> Path:
    """A run whose heads are trained and of which nothing is collected."""
    shutil.copytree(trained_run / "heads", tmp_path / "run" / "heads")
    shutil.copy(trained_run / "run.json", tmp_path / "run")
    return tmp_path / "run"


def leave(path: Path, *, days: float) -> Path:
    """Leave a temporary file that was last written some days ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"begun")
    then = time.time() - days * DAY_S
    os.utime(path, (then, then))
    return path


def test_before_collecting_the_missing_steps_are_named_as_steps(
    probe: Probe, uncollected: Path
) -> None:
    lines = probe("status", uncollected).out.splitlines()
    assert lines[0].startswith("base ")
    assert lines[0].endswith(", missing step 0")
    assert lines[1].endswith(", missing steps 0-12")
    assert f"collection: missing (probe collect {uncollected})" in lines


def test_after_collecting_nothing_is_called_missing(probe: Probe, collected_run: Path) -> None:
    shown = probe("status", collected_run).out
    assert "missing step" not in shown
    assert "collection:" not in shown


def test_old_leftovers_of_another_machine_are_named_and_stay(
    probe: Probe, uncollected: Path
) -> None:
    name = ".step-00000003.h5.{}.tmp"
    folder = uncollected / "activations/negative"
    old = leave(folder / name.format("node-7.cluster.4711"), days=3)
    leave(folder / name.format("node-8.cluster.4711"), days=0.5)
    leave(folder / name.format(f"{socket.gethostname()}.999999999"), days=3)
    shown = probe("status", uncollected).out
    (line,) = [line for line in shown.splitlines() if line.startswith("left over")]
    assert line.startswith(f"left over: {old}: half-written by another machine 3 days ago")
    assert line.endswith("delete it if nothing runs there any more")
    assert json.loads(probe("status", uncollected, "--json").out)["leftovers"] == [str(old)]
    assert old.exists()


def test_a_leftover_folder_is_as_old_as_its_newest_file(probe: Probe, uncollected: Path) -> None:
    folder = uncollected / "heads/negative/.checkpoint-5.node-7.4711.tmp"
    leave(folder / "adapter_model.safetensors", days=0.1)
    os.utime(folder, (0, 0))
    assert "left over" not in probe("status", uncollected).out
    leave(folder / "adapter_model.safetensors", days=2)
    os.utime(folder, (0, 0))
    assert f"left over: {folder}" in probe("status", uncollected).out
