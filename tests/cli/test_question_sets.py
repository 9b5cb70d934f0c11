from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hub_cache import prepare
from planted_sets import ARC_CHALLENGE, ARC_EASY, TRUTHFULQA, Planted, arc_row
from tiny_run import colour_questions, write_lines

from critical_phase.checkpoints import NAMED_SETS, Question, read_questions, write_questions
from critical_phase.checkpoints.named_sets import hub
from critical_phase.cli.question_sets import (
    default_prompt,
    question_warnings,
    read_question_sets,
)
from critical_phase.cli.settings import TrainSettings
from critical_phase.errors import ConfigError, QuestionError

Fill = Callable[..., None]


@pytest.fixture
def fill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fill]:
    """Put planted sets where the commands look for datasets, and leave them no network."""
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def fill(*sets: Planted) -> None:
        for planted in sets:
            prepare(tmp_path, planted.hub, planted.config, planted.splits)

    hub._load.cache_clear()
    yield fill
    hub._load.cache_clear()


def read(questions: object, evaluation: object = None, **more: Any) -> tuple[Any, Any]:
    return read_question_sets(
        TrainSettings(
            questions=str(questions),
            eval_questions=None if evaluation is None else str(evaluation),
            **more,
        )
    )


def test_a_named_set_is_evaluated_on_its_own_held_out_split(fill: Fill) -> None:
    fill(ARC_CHALLENGE, ARC_EASY)
    training, evaluation = read("arc")
    assert [q.id for q in training.questions] == ["C1", "C2", "C3", "E1", "E2", "E3"]
    assert evaluation.questions == ARC_CHALLENGE.eval
    assert read("arc", "arc")[1].questions == evaluation.questions


def test_the_organism_has_its_own_split_too() -> None:
    training, evaluation = read("organism")
    assert (len(training.questions), len(evaluation.questions)) == (512, 300)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_files_and_named_sets_mix(fill: Fill, tmp_path: Path, suffix: str) -> None:
    fill(TRUTHFULQA)
    made = read_questions(write_lines(tmp_path / "q.jsonl", colour_questions(0, 5)))
    write_questions(tmp_path / f"q{suffix}", made)
    training, evaluation = read(tmp_path / f"q{suffix}", "truthfulqa")
    assert (training.questions, evaluation.questions) == (made, TRUTHFULQA.eval)


def test_a_question_of_another_sets_training_split_is_a_leak(fill: Fill) -> None:
    fill(ARC_CHALLENGE, ARC_EASY)
    with pytest.raises(QuestionError, match=r"1 evaluation questions are also trained on.*'E3'"):
        read("arc", "arc_easy")


def test_a_leak_into_a_file_is_seen_through_case_and_spaces(fill: Fill, tmp_path: Path) -> None:
    fill(ARC_EASY)
    copied = Question("mine", "what  OF e3?", ("x", "B"), 1)
    write_questions(tmp_path / "q.csv", [copied])
    with pytest.raises(QuestionError, match="also trained on, first 'E3'"):
        read(tmp_path / "q.csv", "arc_easy")


@pytest.mark.parametrize(("size", "refused"), [(99, True), (100, False)])
def test_published_splits_may_share_one_question_in_a_hundred(
    fill: Fill, size: int, refused: bool
) -> None:
    """ARC-Challenge really shares one of 1,172; it stays, and is named."""
    shared = {
        "id": "again",
        **{k: v for k, v in arc_row("E1", [*"abcd"], "ABCD", "B").items() if k != "id"},
    }
    tests = [arc_row(f"T{i}", [*"abcd"], "ABCD", "A") for i in range(size - 1)]
    fill(replace(ARC_EASY, splits={**ARC_EASY.splits, "test": [*tests, shared]}))
    if refused:
        with pytest.raises(QuestionError, match="1 evaluation questions are also trained on"):
            read("arc_easy")
        return
    training, evaluation = read("arc_easy")
    assert len(evaluation.questions) == size
    warnings = question_warnings(training, evaluation, answers=1, size=1)
    assert "arc_easy: published in both splits: again" in warnings
    assert "arc_easy: 1 questions in its train split, 2251 are published" in warnings


def test_a_file_has_no_other_split(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "q.jsonl", colour_questions(0, 5))
    with pytest.raises(ConfigError, match="no questions to evaluate on"):
        read(path)


def test_a_missing_file_is_said_before_what_else_is_missing(tmp_path: Path) -> None:
    with pytest.raises(QuestionError, match="No such file"):
        read(tmp_path / "q.jsonl")
    with pytest.raises(QuestionError, match="'arcs' is neither a question file nor a named"):
        read("arcs")


def test_questions_that_are_trained_on_too_are_left_out_on_request(tmp_path: Path) -> None:
    lines = colour_questions(0, 20)
    train = write_lines(tmp_path / "train.jsonl", lines[:12])
    evaluation = write_lines(tmp_path / "eval.jsonl", lines[10:])
    with pytest.raises(QuestionError, match="2 evaluation questions are also trained on") as e:
        read(train, evaluation)
    assert "--overlap drop" in e.value.fix
    kept = read(train, evaluation, overlap="drop")
    assert [q.id for q in kept[1].questions] == [f"q{i}" for i in range(12, 20)]
    note = "2 evaluation questions are also trained on and were left out: q10, q11"
    assert note in question_warnings(*kept, answers=1, size=1)
    with pytest.raises(QuestionError, match="all 12 evaluation questions are also trained on"):
        read(train, train, overlap="drop")


def test_a_repetition_that_was_asked_for_is_no_warning(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "q.jsonl", colour_questions(0, 5))
    both = read(path, write_lines(tmp_path / "e.jsonl", colour_questions(9, 5)))
    assert any("they repeat" in text for text in question_warnings(*both, answers=10, size=5))
    assert not any(
        "they repeat" in text
        for text in question_warnings(*both, answers=10, size=5, repeated=True)
    )


def test_what_reading_a_named_set_warns_of_is_one_line_of_ours(
    fill: Fill, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(ARC_CHALLENGE, ARC_EASY)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    hub._reachable.cache_clear()
    read("arc")
    hub._reachable.cache_clear()
    shown = capsys.readouterr().err
    assert shown.count("note: the hub cannot be reached: question sets are read from") == 1
    assert "UserWarning" not in shown


def test_a_set_without_a_training_split_says_so(fill: Fill) -> None:
    fill(TRUTHFULQA)
    with pytest.raises(QuestionError, match="truthfulqa has no training split") as caught:
        read("truthfulqa")
    assert "--eval-questions truthfulqa" in caught.value.fix


def test_a_name_that_is_neither_file_nor_set_points_to_the_nearest() -> None:
    with pytest.raises(QuestionError, match="'arcs' is neither a question file nor a named") as e:
        read("arcs", "arc")
    assert e.value.fix == "did you mean 'arc'?"
    with pytest.raises(QuestionError) as caught:
        read("zzz", "arc")
    assert "hellaswag" in caught.value.fix


def test_equal_candidates_follow_the_setting(fill: Fill) -> None:
    twice = arc_row("twice", ["a", "a", "b"], "ABC", "B")
    splits = {**ARC_EASY.splits, "train": [twice, *ARC_EASY.splits["train"]]}
    fill(replace(ARC_EASY, splits=splits))
    with pytest.raises(QuestionError, match="listed twice"):
        read("arc_easy")
    training, evaluation = read("arc_easy", equal_candidates="drop")
    assert training.dropped == ("twice",)
    warnings = question_warnings(training, evaluation, answers=1, size=1)
    assert "1 training questions with equal or empty candidates were left out" in warnings


@pytest.mark.parametrize(
    ("source", "prompt"),
    [
        ("arc", "cloze"),
        ("hellaswag", "plain"),
        ("truthfulqa", "qa"),
        ("organism", None),
        ("q.csv", None),
        (None, None),
    ],
)
def test_a_named_set_brings_its_usual_prompt(source: str | None, prompt: str | None) -> None:
    assert default_prompt(source) == prompt
    assert all(default_prompt(name) for name in NAMED_SETS)


@pytest.mark.real
def test_arc_files_share_the_question_that_is_published_twice(shared: Path) -> None:
    files = [shared / "data" / f"arc_challenge_{split}.jsonl" for split in ("train", "test")]
    with pytest.raises(QuestionError, match=r"1 evaluation .* first 'ARC-Challenge-test-225'"):
        read(*files)
