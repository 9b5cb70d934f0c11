"""One error each: what was asked, what was found, what to do; nothing lost."""

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from tiny_run import Probe, colour_questions, write_lines


def test_a_missing_question_file(probe: Probe, tmp_path: Path) -> None:
    shown = probe(
        *("train", "--out", tmp_path / "r", "--questions", tmp_path / "none.jsonl"),
        *("--eval-questions", tmp_path / "none.jsonl"),
    )
    assert shown.code == 4
    assert shown.err.startswith("error: cannot read the question file: No such file")
    assert f"where: {tmp_path / 'none.jsonl'}" in shown.err
    assert "fix:" in shown.err
    assert not (tmp_path / "r").exists()


def test_a_malformed_question_file(probe: Probe, tmp_path: Path) -> None:
    lines = colour_questions(0, 3)
    lines[2]["answer"] = 9
    path = write_lines(tmp_path / "q.jsonl", lines)
    shown = probe("train", "--out", tmp_path / "r", "--questions", path, "--eval-questions", path)
    assert shown.code == 4
    assert "field answer: expected an index from 0 to 3, found 9" in shown.err
    assert f"{path}, line 3" in shown.err
    assert not (tmp_path / "r").exists()


def test_a_malformed_file_is_named_before_missing_evaluation_questions(
    probe: Probe, tmp_path: Path
) -> None:
    lines = colour_questions(0, 3)
    lines[1]["answer"] = 9
    path = write_lines(tmp_path / "q.jsonl", lines)
    shown = probe("train", "--out", tmp_path / "r", "--questions", path)
    assert shown.code == 4
    assert "field answer: expected an index from 0 to 3, found 9" in shown.err
    lines[1]["answer"] = 0
    write_lines(path, lines)
    assert "no questions to evaluate on" in probe("train", tmp_path / "r", "--questions", path).err


@pytest.mark.parametrize("finished", [True, False])
def test_a_demo_of_another_seed_names_the_seed(
    probe: Probe, tmp_path: Path, finished: bool
) -> None:
    out = tmp_path / "demo"
    assert probe("train", out, "--steps", 1, "--schedule", "every:1").code == 0
    if not finished:
        (out / "config.yaml").unlink()
        (out / "run.json").unlink()
    shown = probe("demo", "--out", out, "--seed", 3)
    assert shown.code == 4
    assert "this folder holds a run with seed 0; asked for a demo with seed 3" in shown.err
    assert "fix:   give --out another folder, or --seed 0 to go on with this one" in shown.err
    if finished:
        assert "a run with steps 1; asked for a demo with steps" in probe("demo", "--out", out).err


def test_no_such_model(probe: Probe, tmp_path: Path, question_files: tuple[Path, Path]) -> None:
    shown = probe(
        *("train", "--out", tmp_path / "r", "--model", "/no/such/model"),
        *("--questions", question_files[0], "--eval-questions", question_files[1]),
    )
    assert shown.code == 4
    assert "cannot load the model '/no/such/model'" in shown.err


def test_an_unknown_checkpoint(probe: Probe, trained_run: Path) -> None:
    shown = probe("collect", trained_run, "--checkpoints", "100")
    assert shown.code == 2
    assert "no checkpoint at step 100; nearest: 10, 11, 12\nfix:   choose among the 13" in shown.err


@pytest.mark.parametrize(
    ("typed", "fix"),
    [
        ("negativ", "did you mean 'negative'?"),
        ("positive,negatve", "did you mean 'negative'?"),
        ("x", "choose from positive, negative"),
    ],
)
@pytest.mark.parametrize("command", ["collect", "effects", "train"])
def test_a_mistyped_head_names_the_nearest(
    command: str, typed: str, fix: str, probe: Probe, trained_run: Path
) -> None:
    shown = probe(command, trained_run, "--heads", typed)
    assert shown.code == 2
    assert "input should be 'positive' or 'negative'" in shown.err
    assert f"\nfix:   {fix}\n" in shown.err


@pytest.mark.parametrize("command", ["control", "export"])
def test_a_mistyped_head_is_answered_by_every_command(
    command: str, probe: Probe, collected_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    to = ("--out", out) if command == "control" else ("--format", "npz", "--to", out)
    shown = probe(command, collected_run, "--heads", "negativ", *to)
    assert shown.code == 2
    assert "fix:   did you mean 'negative'?" in shown.err


def test_no_run(probe: Probe, tmp_path: Path) -> None:
    for command in ("collect", "analyze", "report", "status"):
        shown = probe(command, tmp_path)
        assert shown.code == 4
        assert "no run here" in shown.err


def test_analysis_before_collection_says_what_to_run(
    probe: Probe, trained_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copytree(trained_run / "heads", run / "heads")
    shutil.copy(trained_run / "run.json", run)
    shown = probe("analyze", run)
    assert shown.code == 4
    assert f"fix:   probe collect {run}" in shown.err


def test_an_adapter_of_another_base(probe: Probe, trained_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained_run, run, ignore=shutil.ignore_patterns("scores", "activations"))
    for note in run.glob("heads/*/checkpoint-*/critical_phase.json"):
        note.write_text(json.dumps({**json.loads(note.read_text()), "base_sha256": "0" * 64}))
    shown = probe("collect", run)
    assert shown.code == 4
    assert "belongs to another base model" in shown.err
    assert not list(run.rglob("*.h5"))


def test_a_truncated_file(probe: Probe, collected_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(collected_run, run)
    damaged = run / "scores/negative/step-00000005.h5"
    damaged.write_bytes(damaged.read_bytes()[:-200])
    shown = probe("analyze", run)
    assert shown.code == 4
    assert str(damaged) in shown.err
    assert "probe collect" in shown.err


def test_a_flipped_bit(probe: Probe, collected_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(collected_run, run)
    damaged = run / "activations/negative/step-00000005.h5"
    with h5py.File(damaged) as file:
        place = file["residual"].id.get_chunk_info(0).byte_offset
    data = bytearray(damaged.read_bytes())
    data[place + 10] ^= 1
    damaged.write_bytes(data)
    shown = probe("validate", run)
    assert shown.code == 1
    assert f"{damaged}: damaged:" in shown.out


def test_a_full_disk_keeps_finished_units_and_the_same_command_continues(
    probe: Probe, trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from critical_phase import atomic

    run = tmp_path / "run"
    shutil.copytree(
        trained_run,
        run,
        ignore=shutil.ignore_patterns(
            "scores", "activations", "plan.csv", "manifest.jsonl", "analysis"
        ),
    )
    sync = atomic.sync_file

    def full(path: Path) -> None:
        if "step-00000003.h5" in path.name and "negative" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(path)

    monkeypatch.setattr(atomic, "sync_file", full)
    shown = probe("collect", run)
    assert shown.code == 4
    assert "the disk is full" in shown.err
    finished = sorted(run.glob("scores/positive/*.h5"))
    assert len(finished) == 13
    assert not list(run.rglob(".*.tmp"))
    monkeypatch.undo()
    assert probe("collect", run).code == 0
    assert len(list(run.rglob("*.h5"))) == 54


def test_a_misspelt_kind_of_negatives_is_found_before_any_training(
    probe: Probe, tmp_path: Path, tiny_model_folder: Path, question_files: tuple[Path, Path]
) -> None:
    shown = probe(
        *("train", "--out", tmp_path / "r", "--model", tiny_model_folder),
        *("--questions", question_files[0], "--eval-questions", question_files[1]),
        *("--negatives", "near_mis"),
    )
    assert shown.code == 2
    assert "near_miss, irrelevant, unrelated" in shown.err
    assert not (tmp_path / "r").exists()


def test_training_of_no_step_is_refused_in_a_dry_run_too(probe: Probe, tmp_path: Path) -> None:
    shown = probe("train", "--out", tmp_path / "r", "--steps", 0, "--dry-run")
    assert shown.code == 2
    assert "setting steps: input should be greater than or equal to 1" in shown.err


@pytest.mark.parametrize("command", ["collect", "effects", "llc", "generate", "retrain"])
def test_a_wrong_path_is_refused_before_anything_heavy_is_loaded(
    command: str, tmp_path: Path
) -> None:
    script = (
        "import sys; from critical_phase.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as stop: print(stop.code, 'torch' in sys.modules)"
    )
    asked = [sys.executable, "-c", script, command, str(tmp_path / "none")]
    found = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert "no run here" in found.stderr
    assert found.stdout.split()[-2:] == ["4", "False"]
