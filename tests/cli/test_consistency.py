"""Files of one run that do not belong together are refused; what is missing is said."""

import json
import shutil
from pathlib import Path

import pytest
from tiny_run import Probe, colour_questions, write_lines

from critical_phase.cli.loading import StoredRun
from critical_phase.cli.run_folder import RunFolder


@pytest.fixture
def run(collected_run: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "run"
    shutil.copytree(collected_run, copy)
    return copy


def retrain(
    probe: Probe, run: Path, model: Path, files: tuple[Path, Path], *options: object
) -> str:
    shown = probe(
        *("train", "--out", run, "--steps", 12, "--lr", 0.05, "--model", model),
        *("--questions", files[0], "--eval-questions", files[1], *options),
    )
    return shown.err if shown.code else ""


def test_scores_of_an_adapter_that_was_replaced_are_refused(probe: Probe, run: Path) -> None:
    heads = run / "heads/negative"
    for name in ("adapter_model.safetensors", "critical_phase.json"):
        shutil.copy(heads / "checkpoint-4" / name, heads / "checkpoint-9" / name)
    shown = probe("analyze", run)
    assert shown.code == 4
    assert "collected from another adapter than the one saved now" in shown.err
    assert "step-00000009.h5" in shown.err


def test_training_anew_forgets_what_was_made_from_the_old_heads(
    probe: Probe, run: Path, tiny_model_folder: Path, question_files: tuple[Path, Path]
) -> None:
    assert not retrain(probe, run, tiny_model_folder, question_files, "--seed", 7, "--overwrite")
    assert not list(run.glob("scores/negative/*.h5"))
    assert not list(run.glob("activations/positive/*.h5"))
    assert list(run.glob("scores/base/*.h5"))


def test_heads_of_different_recipes_do_not_share_a_run(
    probe: Probe, run: Path, tiny_model_folder: Path, question_files: tuple[Path, Path]
) -> None:
    options = ("--heads", "negative", "--batch-size", 4, "--overwrite")
    error = retrain(probe, run, tiny_model_folder, question_files, *options)
    assert "the positive head of this run was trained with another recipe" in error


def test_another_draw_of_questions_is_collected_only_on_request(probe: Probe, run: Path) -> None:
    shown = probe("collect", run, "--limit", 10)
    assert shown.code == 4
    assert "another plan" in shown.err
    assert probe("collect", run, "--limit", 10, "--overwrite").code == 0
    record = json.loads((run / "run.json").read_text())
    assert record["collect"]["evaluated_questions"] == 10


def test_what_is_missing_or_failed_is_noted(run: Path) -> None:
    (run / "scores/negative/step-00000006.h5").unlink()
    (run / "activations/positive/step-00000002.h5").unlink()
    (run / "failed").mkdir(exist_ok=True)
    (run / "failed/collect-negative-step-00000006.json").write_text("{}")
    arrays = StoredRun(RunFolder(run))
    assert "negative: 1 of 13 saved steps were not collected (6)" in arrays.notes
    assert "failed and left out: collect-negative-step-00000006" in arrays.notes
    assert any("activations are missing for 1 of" in note for note in arrays.notes)
    assert arrays.layers == ()


def test_the_same_question_in_other_letters_is_a_leak(
    probe: Probe, tmp_path: Path, tiny_model_folder: Path
) -> None:
    train = write_lines(tmp_path / "train.jsonl", colour_questions(0, 8))
    lines = colour_questions(0, 2)
    for line in lines:
        line["question"] = str(line["question"]).upper() + "  "
    evaluation = write_lines(tmp_path / "eval.jsonl", lines)
    shown = probe(
        *("train", "--out", tmp_path / "r", "--model", tiny_model_folder),
        *("--questions", train, "--eval-questions", evaluation),
    )
    assert shown.code == 4
    assert "2 evaluation questions are also trained on" in shown.err


def test_repeated_answers_and_shared_questions_are_said(trained_run: Path) -> None:
    record = json.loads((trained_run / "run.json").read_text())
    # 12 steps of 8 answers on 60 questions
    assert "training passes over 60 questions 1.6 times: they repeat" in record["warnings"]
