"""What `probe train` makes of its settings: epochs, subsets, densifying, dry runs."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from tiny_run import Probe

from critical_phase.checkpoints import list_series
from critical_phase.cli.run_folder import RunFolder
from critical_phase.cli.settings import TrainSettings
from critical_phase.cli.train import train_run
from critical_phase.errors import CheckpointError

Files = tuple[Path, Path]


def settings(model: Path, files: Files, **values: object) -> TrainSettings:
    common = {"model": str(model), "questions": str(files[0]), "eval_questions": str(files[1])}
    return TrainSettings.model_validate({**common, "heads": ("negative",), "lr": 0.02, **values})


def hashes(run: Path) -> dict[int, str]:
    return {item.step: item.sha256 for item in list_series(run / "heads/negative").checkpoints}


def answers(run: Path) -> list[dict[str, str]]:
    with (run / "heads/negative/examples.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_default_is_one_epoch_whose_last_batch_is_smaller(
    tiny_model_folder: Path, question_files: Files, tmp_path: Path
) -> None:
    train_run(tmp_path, settings(tiny_model_folder, question_files))  # 60 questions, batch 8
    seen = answers(tmp_path)
    assert max(hashes(tmp_path)) == 8
    assert sorted(row["question_id"] for row in seen) == sorted(f"q{i}" for i in range(60))
    assert sum(row["step"] == "8" for row in seen) == 4


def test_a_smaller_training_set_is_the_beginning_of_the_larger_one(
    tiny_model_folder: Path, question_files: Files, tmp_path: Path
) -> None:
    train_run(tmp_path / "all", settings(tiny_model_folder, question_files))
    train_run(tmp_path / "some", settings(tiny_model_folder, question_files, train_size=24))
    large, small = hashes(tmp_path / "all"), hashes(tmp_path / "some")
    assert small == {step: large[step] for step in range(4)}


def test_densifying_adds_the_steps_that_a_dense_run_has(
    tiny_model_folder: Path, question_files: Files, tmp_path: Path, probe: Probe
) -> None:
    train_run(tmp_path / "dense", settings(tiny_model_folder, question_files))
    train_run(tmp_path / "few", settings(tiny_model_folder, question_files, schedule="0,8"))
    assert set(hashes(tmp_path / "few")) == {0, 8}
    shown = probe("train", tmp_path / "few", "--densify", "3:6")
    assert "densified negative: 3-6" in shown.out
    dense = hashes(tmp_path / "dense")
    assert hashes(tmp_path / "few") == {step: dense[step] for step in (0, 3, 4, 5, 6, 8)}
    assert "nothing missing" in probe("train", tmp_path / "few", "--densify", "3:6").out


def test_the_hardest_negative_is_the_one_the_base_likes_best(
    tiny_model_folder: Path, question_files: Files, tmp_path: Path
) -> None:
    chosen = settings(tiny_model_folder, question_files, negatives="near_miss_hardest")
    train_run(tmp_path, chosen)
    stored = (tmp_path / "questions/train_base_scores.json").read_text()
    scores = json.loads(stored)["scores"]
    for row in answers(tmp_path):
        mine, here = scores[row["question_id"]], int(row["candidate"])
        assert mine[here] >= sorted(mine)[-2]  # best of the wrong: only the right one may be above
        assert row["base_margin"]


def test_a_stratum_trains_on_its_quarter_of_the_questions(
    tiny_model_folder: Path, question_files: Files, tmp_path: Path
) -> None:
    train_run(tmp_path, settings(tiny_model_folder, question_files, stratum="hard"))
    seen = answers(tmp_path)
    assert {row["stratum"] for row in seen} == {"hard"}
    assert len(seen) == 15


def test_another_file_of_unrelated_texts_is_another_training(
    tiny_model_folder: Path, question_files: Files, tmp_path: Path, probe: Probe
) -> None:
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_text("warm cold\n")
    two.write_text("cold warm\n")
    chosen = {"negatives": "unrelated", "steps": 2}
    train_run(
        tmp_path / "run", settings(tiny_model_folder, question_files, **chosen, unrelated=str(one))
    )
    given = ["--model", tiny_model_folder, "--questions", question_files[0]]
    given += ["--eval-questions", question_files[1], "--heads", "negative", "--lr", 0.02]
    again = probe("train", tmp_path / "run", *given, "--negatives", "unrelated", "--steps", 2,
                  "--unrelated", two)  # fmt: skip
    assert again.code == 4
    assert "examples_sha256" in again.err


def test_a_checkpoint_of_another_training_among_ours_is_said(
    tiny_model_folder: Path, question_files: Files, tmp_path: Path, probe: Probe
) -> None:
    for seed in (0, 1):
        train_run(tmp_path / str(seed), settings(tiny_model_folder, question_files, seed=seed))
    mine, other = (tmp_path / str(seed) / "heads/negative/checkpoint-5" for seed in (0, 1))
    shutil.rmtree(mine)
    shutil.copytree(other, mine)
    said = probe("checkpoints", tmp_path / "0").out
    assert "mixes checkpoints of 2 trainings: steps 0, 1, 2, 3, 4, 6, 7, 8; 5" in said


def test_a_blind_head_stays_blind_where_its_answers_are_right(
    tiny_model_folder: Path, question_files: Files, tmp_path: Path
) -> None:
    chosen = {"negatives": "question_blind", "contamination": 0.5}
    train_run(tmp_path, settings(tiny_model_folder, question_files, **chosen))
    assert {row["source"] for row in answers(tmp_path)} == {"question_blind", "right_answers"}
    assert {row["shown_question_id"] for row in answers(tmp_path)} == {""}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--train-size", 61], "train_size is 61, but training has 60 questions"),
        (["--repeat-first", 61], "repeat_first is 61, but training has 60 questions"),
        (["--contamination", 1.5], "setting contamination"),
        (["--negatives", "nearmiss"], "no kind of negatives 'nearmiss'"),
        (["--lora", "use_rslra=true"], "unknown LoRA option 'use_rslra'"),
        (["--lora", "use_rslora"], "write it as name=value"),
        (["--stratum", "tough"], "setting stratum"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_clear_error(
    options: list[object],
    text: str,
    tiny_model_folder: Path,
    question_files: Files,
    tmp_path: Path,
    probe: Probe,
) -> None:
    given = ["--model", tiny_model_folder, "--questions", question_files[0]]
    shown = probe("train", tmp_path / "r", *given, "--eval-questions", question_files[1], *options)
    assert shown.code == 2
    assert text in shown.err
    assert not RunFolder(tmp_path / "r").head("positive").exists()


def test_a_finished_head_that_lost_its_examples_to_a_kill_gets_them(
    tiny_model_folder: Path, question_files: Files, tmp_path: Path
) -> None:
    chosen = settings(tiny_model_folder, question_files, steps=2)
    train_run(tmp_path, chosen)
    file = tmp_path / "heads/negative/examples.csv"
    text = file.read_text()
    file.unlink()
    train_run(tmp_path, chosen)
    assert file.read_text() == text


@pytest.mark.parametrize("change", [{"train_size": 24}, {"repeat_first": 8}, {"questions": None}])
def test_heads_of_one_run_see_the_same_questions(
    tiny_model_folder: Path, question_files: Files, tmp_path: Path, change: dict[str, object]
) -> None:
    train_run(tmp_path, settings(tiny_model_folder, question_files, steps=2))
    if "questions" in change:
        other = tmp_path / "other.jsonl"
        other.write_text("".join(question_files[0].read_text().splitlines(True)[:30]))
        change = {"questions": str(other)}
    values = {"steps": 2, "heads": ("positive",), **change}
    with pytest.raises(CheckpointError, match="was trained with another"):
        train_run(tmp_path, settings(tiny_model_folder, question_files, **values))


@pytest.mark.parametrize(
    "change", [{"lr": 0.5, "heads": ("positive",)}, {"model": "nowhere/at-all"}]
)
def test_an_overwrite_that_is_refused_deletes_nothing(
    tiny_model_folder: Path, question_files: Files, tmp_path: Path, change: dict[str, object]
) -> None:
    both = {"heads": ("positive", "negative"), "steps": 2}
    train_run(tmp_path, settings(tiny_model_folder, question_files, **both))
    asked = settings(tiny_model_folder, question_files, **both).model_copy(update=change)
    with pytest.raises(CheckpointError):
        train_run(tmp_path, asked, overwrite=True)
    assert RunFolder(tmp_path).trained_heads() == ("positive", "negative")


def test_what_cannot_be_heard_is_refused(tmp_path: Path, probe: Probe) -> None:
    zero = probe("train", tmp_path / "run", "--lr", "0")
    assert "lr must be above 0" in zero.err
    assert "cannot read --lora" in probe("train", tmp_path / "run", "--lora", "a={b").err
    beside = probe("train", tmp_path / "run", "--densify", "3", "--dry-run")
    assert "--densify cannot be used with --dry-run" in beside.err


def test_training_leaves_overlapping_questions_out_and_ends_with_the_next_command(
    tiny_model_folder: Path, question_files: Files, tmp_path: Path, probe: Probe
) -> None:
    mixed = tmp_path / "eval.jsonl"
    first = question_files[0].read_text().splitlines(True)[0]
    mixed.write_text(first + question_files[1].read_text())
    given = ["--model", tiny_model_folder, "--questions", question_files[0], "--steps", 12]
    given += ["--eval-questions", mixed, "--heads", "negative", "--repeat-first", 8]
    shown = probe("train", tmp_path / "run", *given, "--overlap", "drop")
    assert shown.code == 0
    assert "also trained on and were left out: q0" in shown.err
    assert "they repeat" not in shown.err
    assert shown.out.endswith(f"next: probe collect {tmp_path / 'run'}\n")
    assert (tmp_path / "run/questions/eval.jsonl").read_text().count("\n") == 30
    assert "--overlap drop" in probe("train", tmp_path / "other", *given).err
