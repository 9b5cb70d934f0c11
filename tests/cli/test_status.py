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


@pytest.fixture
def analysed(collected_run: Path, tmp_path: Path) -> Path:
    """A collected run with the files of an analysis and of a page, written in this order."""
    run = Path(shutil.copytree(collected_run, tmp_path / "analysed"))
    for name in ("analysis", "report"):
        shutil.rmtree(run / name, ignore_errors=True)
        (run / name).mkdir()
    for place, name in enumerate(("analysis/curves.json", "analysis/findings.json")):
        (run / name).write_text("{}")
        written(run / name, place)
    (run / "report/report.html").write_text("")
    written(run / "report/report.html", 2)
    return run


def written(path: Path, place: int) -> None:
    """Let a file be the n-th that was written, after all that are stored."""
    then = time.time() + 10 + place
    os.utime(path, (then, then))


def ends(probe: Probe, run: Path) -> list[str]:
    return [
        line
        for line in probe("status", run).out.splitlines()
        if line.startswith(("analysis:", "report:"))
    ]


def test_a_finished_run_is_called_done(probe: Probe, analysed: Path) -> None:
    assert ends(probe, analysed) == ["analysis: done", "report: done"]
    found = json.loads(probe("status", analysed, "--json").out)
    assert (found["analysis"], found["report"]) == ("done", "done")


@pytest.mark.parametrize(
    "name", ["scores/negative/step-00000003.h5", "contexts/again/scores/base/step-00000000.h5"]
)
def test_files_that_came_after_the_analysis_are_named(
    probe: Probe, analysed: Path, name: str
) -> None:
    file = analysed / name
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        shutil.copy(analysed / "scores/base/step-00000000.h5", file)
    written(file, 5)
    line, _ = ends(probe, analysed)
    assert f"by its time {name} was written later (probe analyze {analysed})" in line
    assert json.loads(probe("status", analysed, "--json").out)["analysis"] == "older"


def test_an_analysis_that_stopped_while_it_wrote_is_not_called_done(
    probe: Probe, analysed: Path
) -> None:
    written(analysed / "analysis/curves.json", 3)
    assert ends(probe, analysed)[0].startswith("analysis: stopped half-way")


def test_a_page_that_is_older_than_the_analysis_or_not_there_is_said(
    probe: Probe, analysed: Path
) -> None:
    written(analysed / "analysis/findings.json", 4)
    command = f"(probe report {analysed})"
    assert ends(probe, analysed)[1] == f"report: by its time older than the analysis {command}"
    (analysed / "report/report.html").unlink()
    assert ends(probe, analysed)[1] == f"report: missing {command}"


def test_a_context_lacks_only_steps_that_were_asked_for(probe: Probe, analysed: Path) -> None:
    chosen = ("--contexts", "answer_only", "--checkpoints", "0,4,12")
    assert probe("collect", analysed, *chosen).code == 0
    assert "missing" not in probe("status", analysed).out
    (analysed / "contexts/answer_only/scores/negative/step-00000004.h5").unlink()
    assert ", negative missing step 4" in probe("status", analysed).out
