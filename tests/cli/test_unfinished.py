"""What commands say of a run that is not there yet: training stopped, or nothing collected."""

import shutil
from pathlib import Path

import pytest
from tiny_run import Probe


@pytest.fixture
def stopped(trained_run: Path, tmp_path: Path) -> Path:
    """A folder as a kill in the fifth step of the second head leaves it."""
    run = tmp_path / "run"
    shutil.copytree(trained_run / "heads", run / "heads")
    head = run / "heads" / "negative"
    for name in ("done.json", "examples.csv", "log.csv"):
        (head / name).unlink()
    for step in range(6, 13):
        shutil.rmtree(head / f"checkpoint-{step}")
    for state in (head / "states").glob("*"):
        if int(state.stem.removeprefix("step-")) > 5:
            state.unlink()
    return run


@pytest.mark.parametrize("command", ["status", "validate", "collect"])
def test_a_stopped_training_is_said_with_its_step(
    command: str, probe: Probe, stopped: Path
) -> None:
    shown = probe(command, stopped)
    assert shown.code == 4
    assert "training stopped, or is still running" in shown.err
    assert "(negative head: step 5 of 12, positive head: finished at step 12 of 12)" in shown.err
    assert "repeat probe train" in shown.err


def test_a_training_that_never_saved_anything_is_said_too(probe: Probe, tmp_path: Path) -> None:
    (tmp_path / "heads" / "positive").mkdir(parents=True)
    assert "positive head: before step 0" in probe("status", tmp_path).err


def test_a_run_without_stored_files_is_told_what_validate_checks(
    probe: Probe, stopped: Path, trained_run: Path
) -> None:
    shutil.copy(trained_run / "run.json", stopped)
    shown = probe("validate", stopped)
    assert shown.code == 4
    assert "what is checked are scores, activations and effects" in shown.err
    assert f"probe checkpoints {stopped} lists adapters" in shown.err
