import json
import re
import shutil
from pathlib import Path

import pytest
from tiny_run import Probe, colour_questions, write_lines

from critical_phase.checkpoints import NEGATIVES, list_series
from critical_phase.cli.group import COMMANDS


def test_every_listed_command_exists_and_explains_itself(probe: Probe) -> None:
    for name in COMMANDS:
        shown = probe(name, "--help")
        assert shown.code == 0
        assert shown.out.startswith("Usage: ")


def test_a_misspelt_command_names_the_nearest(probe: Probe) -> None:
    shown = probe("colect")
    assert shown.code == 2
    assert "Did you mean 'collect'?" in shown.err


def test_training_twice_does_nothing_the_second_time(
    probe: Probe, trained_run: Path, tiny_model_folder: Path, question_files: tuple[Path, Path]
) -> None:
    before = [
        c.path.stat().st_mtime_ns for c in list_series(trained_run / "heads/negative").checkpoints
    ]
    shown = probe(
        *("train", "--out", trained_run, "--steps", 12, "--lr", 0.05),
        *("--model", tiny_model_folder, "--questions", question_files[0]),
        *("--eval-questions", question_files[1]),
    )
    assert shown.code == 0
    assert "train negative: finished before" in shown.err
    after = [
        c.path.stat().st_mtime_ns for c in list_series(trained_run / "heads/negative").checkpoints
    ]
    assert after == before


def test_other_settings_in_a_trained_run_are_refused_with_the_difference(
    probe: Probe, trained_run: Path, tiny_model_folder: Path, question_files: tuple[Path, Path]
) -> None:
    shown = probe(
        *("train", "--out", trained_run, "--steps", 12, "--lr", 0.5),
        *("--model", tiny_model_folder, "--questions", question_files[0]),
        *("--eval-questions", question_files[1]),
    )
    assert shown.code == 4
    assert "trained with another recipe: asked for lr 0.5, found lr 0.05\n" in shown.err
    assert "--overwrite" in shown.err


def test_checkpoints_are_listed_with_norm_and_loss(probe: Probe, trained_run: Path) -> None:
    listed = json.loads(probe("checkpoints", trained_run, "--json").out)
    negative = [row for row in listed["checkpoints"] if row["head"] == "negative"]
    assert [row["step"] for row in negative] == list(range(13))
    assert negative[0]["note"] == "update is zero"
    assert negative[12]["norm"] > negative[1]["norm"] > 0
    assert listed["warnings"] == []


def test_collecting_twice_finds_everything_there(probe: Probe, collected_run: Path) -> None:
    shown = probe("collect", collected_run)
    assert shown.code == 0
    assert shown.out.startswith("collected 0, existing 27, failed 0")


def test_a_dry_run_prints_units_and_bytes_and_touches_nothing(
    probe: Probe, trained_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained_run / "heads", tmp_path / "run" / "heads")
    shutil.copytree(trained_run / "questions", tmp_path / "run" / "questions")
    shutil.copy(trained_run / "run.json", tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    shown = probe("collect", tmp_path / "run", "--dry-run", "--checkpoints", "0,8:10")
    assert shown.code == 0
    assert "negative: 4 checkpoints: 0, 8-10" in shown.out
    assert "units: 9, of which 0 exist" in shown.out
    assert re.search(r"to write: [\d.]+ MB", shown.out)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_refuses_another_plan_as_the_real_run_does(
    probe: Probe, collected_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(collected_run, tmp_path / "run"))
    dry = probe("collect", run, "--limit", 5, "--dry-run")
    assert dry.code == 4
    assert "this run already has another plan: it holds 30 questions" in dry.err
    real = probe("collect", run, "--limit", 5).err
    assert real.partition("error:")[2] == dry.err.partition("error:")[2]
    assert probe("collect", run, "--limit", 5, "--dry-run", "--overwrite").code == 0


def test_a_dry_run_refuses_another_plan_of_a_context(
    probe: Probe, collected_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(collected_run, tmp_path / "run"))
    (run / "contexts/shuffled").mkdir(parents=True)
    text = (run / "plan.csv").read_text()
    (run / "contexts/shuffled/plan.csv").write_text(text.replace("q60,", "q0,"))
    shown = probe("collect", run, "--contexts", "shuffled", "--dry-run")
    assert shown.code == 4
    assert f"where: {run / 'contexts/shuffled/plan.csv'}" in shown.err


def test_status_says_what_is_missing(probe: Probe, collected_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(collected_run, run)
    (run / "scores/negative/step-00000007.h5").unlink()
    status = json.loads(probe("status", run, "--json").out)
    heads = {head["head"]: head for head in status["heads"]}
    assert heads["negative"]["missing"] == [7]
    assert heads["positive"]["missing"] == []


def test_the_whole_way_ends_in_a_report_and_an_index(probe: Probe, collected_run: Path) -> None:
    shown = probe("analyze", collected_run, "--draws", 40, "--permutations", 20)
    assert shown.code == 0, shown.err
    assert shown.out.splitlines()[-1] == f"next: probe report {collected_run}"
    findings = json.loads((collected_run / "analysis/findings.json").read_text())
    assert findings["schema_version"] == 1
    assert probe("report", collected_run).code == 0
    assert (collected_run / "report/report.html").stat().st_size < 2_000_000
    assert (collected_run.parent / "index.html").is_file()
    address = probe("browse", collected_run, "--print").out.strip()
    assert address == (collected_run / "report/report.html").resolve().as_uri()


def test_validate_reads_every_file(probe: Probe, collected_run: Path) -> None:
    shown = probe("validate", collected_run)
    assert shown.code == 0
    assert shown.out.strip() == (
        "54 of 54 files are sound, 54 hashes compared, 26 adapters compared"
    )


def test_a_setting_from_a_file_is_overruled_by_the_command_line(
    probe: Probe, tmp_path: Path, tiny_model_folder: Path, question_files: tuple[Path, Path]
) -> None:
    config = tmp_path / "probe.yaml"
    config.write_text(
        f"train:\n  model: {tiny_model_folder}\n  questions: {question_files[0]}\n"
        f"  eval_questions: {question_files[1]}\n  steps: 5\n  schedule: 'log'\n"
    )
    shown = probe("train", "--out", tmp_path / "r", "--config", config, "--steps", 9, "--dry-run")
    assert "save 6 checkpoints per head: 0-2, 4, 8, 9" in shown.out
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train:\n  stepz: 5\n", "unknown setting 'stepz'"),
        ("train:\n  steps: many\n", "setting steps"),
        ("train:\n  schedule: 8:32\n", "put quotes around it"),
        ("trian: {}\n", "unknown section 'trian'"),
        ("train: [", "cannot read the settings"),
    ],
)
def test_a_bad_setting_is_named(probe: Probe, tmp_path: Path, text: str, message: str) -> None:
    config = tmp_path / "probe.yaml"
    config.write_text(text)
    shown = probe("train", "--out", tmp_path / "r", "--config", config)
    assert shown.code == 2
    assert message in shown.err


def test_training_and_evaluating_on_the_same_question_is_refused(
    probe: Probe, tmp_path: Path, tiny_model_folder: Path
) -> None:
    file = write_lines(tmp_path / "q.jsonl", colour_questions(0, 8))
    shown = probe(
        *("train", "--out", tmp_path / "r", "--model", tiny_model_folder),
        *("--questions", file, "--eval-questions", file),
    )
    assert shown.code == 4
    assert "8 evaluation questions are also trained on" in shown.err


@pytest.mark.parametrize("kind", NEGATIVES)
def test_the_organism_trains_on_every_kind_of_negatives(
    probe: Probe, tmp_path: Path, kind: str
) -> None:
    options = ("--heads", "negative", "--negatives", kind, "--steps", 1)
    assert probe("train", "--out", tmp_path / "r", *options).code == 0
    listed = (tmp_path / "r/heads/negative/examples.csv").read_text().splitlines()
    assert listed[0].startswith("step,place,question_id,source,candidate,shown_question_id,")
    assert len(listed) == 9
