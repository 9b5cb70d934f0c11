"""A whole sweep of the tiny model: resumed, reused, spread over workers, and summed up."""

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_run import Probe

from critical_phase.cli import main
from critical_phase.probes import read_scores

PROBE = (sys.executable, "-c", "from critical_phase.cli import main; main()")
GRID = """
name: tiny
train: {{model: {model}, questions: {train}, eval_questions: {eval}, steps: 4, lr: 0.05}}
collect: {{activations: false}}
"""
FACTORS = "factors: {negatives: [near_miss, irrelevant], seed: [0, 1]}\n"
SIZES = """
sizes:
  values: [16]
  factors: {negatives: [near_miss], seed: [0], lr_schedule: [constant, linear]}
"""


@pytest.fixture(scope="session")
def head_of_file(tiny_model_folder: Path, question_files: tuple[Path, Path]) -> str:
    train, evaluation = question_files
    return GRID.format(model=tiny_model_folder, train=train, eval=evaluation)


def write(folder: Path, text: str) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(text)
    return path


@pytest.fixture(scope="session")
def made(head_of_file: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six cells, made one after another in this process."""
    folder = tmp_path_factory.mktemp("sweep")
    file = write(folder, head_of_file + FACTORS + SIZES)
    with pytest.raises(SystemExit) as stopped:
        main(["-v", "sweep", str(file), "--out", str(folder / "out")])
    assert not stopped.value.code
    return folder / "out"


def digests(cell: Path) -> dict[str, str]:
    """Hash every file of a cell that training and scoring wrote."""
    files = [
        path for kind in ("heads", "scores") for path in (cell / kind).rglob("*") if path.is_file()
    ]
    return {
        path.relative_to(cell).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in [*files, cell / "plan.csv"]
    }


def test_every_cell_is_an_ordinary_run_and_the_summary_counts_it(made: Path, probe: Probe) -> None:
    value = json.loads((made / "sweep.json").read_text())
    assert [cell["state"] for cell in value["cells"]] == ["finished"] * 6
    for cell in value["cells"]:
        assert probe("status", made / cell["name"]).code == 0
    assert "near_miss-linear-n16-s0" in {cell["name"] for cell in value["cells"]}


def test_repeating_the_command_makes_nothing_again(made: Path, probe: Probe) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*.h5")}
    shown = probe("sweep", made.parent / "sweep.yaml", "--out", made)
    assert shown.out.startswith("made 0, existing 6, failed 0, left 0")
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*.h5")} == before


def test_a_dry_run_lists_the_cells_and_touches_nothing(
    made: Path, probe: Probe, tmp_path: Path
) -> None:
    shown = probe("sweep", made.parent / "sweep.yaml", "--out", tmp_path / "none", "--dry-run")
    assert shown.out.startswith("6 cells, 6 in this shard")
    assert "irrelevant-s1" in shown.out
    assert not (tmp_path / "none").exists()


def test_the_positive_head_is_linked_not_trained_again(made: Path) -> None:
    one, other = (
        made / cell / "heads/positive/checkpoint-4/adapter_model.safetensors"
        for cell in ("near_miss-s0", "irrelevant-s0")
    )
    assert one.stat().st_ino == other.stat().st_ino
    record = json.loads((made / "irrelevant-s0/run.json").read_text())
    assert record["reused"]["heads/positive"] == "near_miss-s0"
    assert record["reused"]["scores/positive"] == "near_miss-s0"
    assert "heads/negative" not in record["reused"]


def test_a_linked_cell_has_the_bytes_of_a_fresh_one(
    made: Path, head_of_file: str, probe: Probe, tmp_path: Path
) -> None:
    file = write(tmp_path, head_of_file + "factors: {negatives: [irrelevant], seed: [0]}\n")
    assert probe("sweep", file, "--out", tmp_path / "fresh").code == 0
    assert json.loads((tmp_path / "fresh/default/run.json").read_text())["reused"] == {}
    assert digests(tmp_path / "fresh/default") == digests(made / "irrelevant-s0")


def test_workers_give_the_bytes_of_one_process(
    made: Path, head_of_file: str, probe: Probe, tmp_path: Path
) -> None:
    file = write(tmp_path, head_of_file + FACTORS)
    shown = probe("sweep", file, "--out", tmp_path / "out", "--jobs", 2)
    assert shown.code == 0, shown.err
    lines = (made / "sweep.csv").read_text().splitlines()
    same = [line for line in lines if ",size," not in line]
    assert (tmp_path / "out/sweep.csv").read_text().splitlines() == same
    for cell in ("near_miss-s0", "irrelevant-s1"):
        assert digests(tmp_path / "out" / cell) == digests(made / cell)


def test_a_sweep_killed_in_a_cell_goes_on_to_the_same_bytes(
    made: Path, head_of_file: str, probe: Probe, tmp_path: Path
) -> None:
    file, out = write(tmp_path, head_of_file + FACTORS), tmp_path / "out"
    arguments = ["sweep", str(file), "--out", str(out), "--shard", "1/4"]
    running = subprocess.Popen([*PROBE, *arguments], stderr=subprocess.DEVNULL)
    first = out / "near_miss-s0/heads/positive/checkpoint-2"
    while not first.exists() and running.poll() is None:
        time.sleep(0.002)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert not (out / "sweep.json").exists()
    assert probe(*arguments).code == 0
    assert digests(out / "near_miss-s0") == digests(made / "near_miss-s0")


def test_a_cell_that_fails_is_written_down_and_the_others_go_on(
    head_of_file: str, probe: Probe, tmp_path: Path
) -> None:
    text = head_of_file.replace("lr: 0.05", "heads: [negative]") + "factors: {lr: [-1, 0.05]}\n"
    shown = probe("sweep", write(tmp_path, text), "--out", tmp_path / "out")
    assert shown.code == 3, shown.err
    failure = json.loads((tmp_path / "out/failed/lr-1.json").read_text())
    assert "lr must be above 0" in failure["message"]
    assert (tmp_path / "out/lr0.05/cell.json").is_file()
    assert "**failed:** lr-1" in (tmp_path / "out/table.md").read_text()


def test_a_kind_that_does_not_exist_is_refused_before_any_training(
    head_of_file: str, probe: Probe, tmp_path: Path
) -> None:
    file = write(tmp_path, head_of_file + "factors: {negatives: [near_miss, near_mis]}\n")
    shown = probe("sweep", file, "--out", tmp_path / "out")
    assert shown.code == 2
    assert "cell near_mis" in shown.err
    assert not (tmp_path / "out").exists()


def test_both_curves_coincide_with_one_pass_and_a_constant_rate(made: Path) -> None:
    followed = read_scores(made / "near_miss-s0/scores/negative/step-00000002.h5").logprob_sum
    size = "near_miss-{}-n16-s0/scores/negative/step-00000002.h5"
    finished = read_scores(made / size.format("constant")).logprob_sum
    annealed = read_scores(made / size.format("linear")).logprob_sum
    assert (finished == followed).all()
    assert (annealed != followed).any()


def test_the_two_curves_are_two_series(made: Path) -> None:
    series = json.loads((made / "sweep.json").read_text())["curves"]
    assert all("n16" not in curve["group"] for curve in series)


def test_undefined_accuracies_are_blank(made: Path) -> None:
    with (made / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    start = [r for r in rows if r["mode"] == "likra" and r["step"] == "0" and r["weight"] == "1.0"]
    assert {row["accuracy"] for row in start} == {""}
    assert {row["undefined"] for row in start} == {"30"}
