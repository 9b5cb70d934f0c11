import json
from pathlib import Path

import pytest

from critical_phase.checkpoints import (
    Question,
    questions_sha256,
    read_question_file,
    read_questions,
    write_questions,
)
from critical_phase.errors import QuestionError

GOOD = {"id": "a", "question": "sky?", "candidates": ["blue", "red"], "answer": 0, "group": "g"}


def _file(folder: Path, *lines: object) -> Path:
    path = folder / "questions.jsonl"
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text(text, encoding="utf-8")
    return path


def test_written_questions_read_back_equal(tmp_path: Path) -> None:
    questions = (
        Question("a", "", ("x\u2028y", "</script>"), 1, "g"),
        Question("b", "q\n\t", ("é", "e"), 0),
    )
    write_questions(tmp_path / "q.jsonl", questions)
    assert read_questions(tmp_path / "q.jsonl") == questions


def test_order_and_content_change_the_hash() -> None:
    a, b = Question("a", "q", ("x", "y"), 0), Question("b", "q", ("x", "y"), 0)
    assert questions_sha256([a, b]) != questions_sha256([b, a])
    assert questions_sha256([a]) != questions_sha256([Question("a", "q", ("x", "y"), 1)])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "one JSON object"),
        ({**GOOD, "id": 3}, "field id: expected a string, found 3"),
        ({"id": "a", "question": "q", "candidates": ["x", "y"]}, "field answer is missing"),
        ({**GOOD, "candidates": ["x"]}, "2 to 26 strings, found 1"),
        ({**GOOD, "candidates": [str(i) for i in range(27)]}, "found 27"),
        ({**GOOD, "candidates": ["x", 2]}, r"candidates\[1\]: expected a string"),
        ({**GOOD, "candidates": ["x", "x"]}, "'x' is listed twice"),
        ({**GOOD, "candidates": ["x", " "]}, "the text is empty"),
        ({**GOOD, "answer": 2}, "index from 0 to 1, found 2"),
        ({**GOOD, "answer": True}, "index from 0 to 1, found True"),
        ({**GOOD, "question": "\ud800"}, "surrogate"),
    ],
)
def test_a_malformed_line_is_named_with_its_field(
    tmp_path: Path, line: object, message: str
) -> None:
    path = _file(tmp_path, {**GOOD, "id": "first"}, line)
    with pytest.raises(QuestionError, match=message) as caught:
        read_questions(path)
    assert caught.value.where == f"{path}, line 2"


def test_duplicate_ids_name_both_lines(tmp_path: Path) -> None:
    with pytest.raises(QuestionError, match="'a' was already used on line 1"):
        read_questions(_file(tmp_path, GOOD, GOOD))


def test_missing_and_empty_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(QuestionError, match="cannot read the question file"):
        read_questions(tmp_path / "none.jsonl")
    with pytest.raises(QuestionError, match="holds no question"):
        read_questions(_file(tmp_path, ""))


def test_questions_with_equal_candidates_are_dropped_only_on_request(tmp_path: Path) -> None:
    path = _file(tmp_path, GOOD, {**GOOD, "id": "b", "candidates": ["x", "x"]})
    read = read_question_file(path, equal_candidates="drop")
    assert [q.id for q in read.questions] == ["a"]
    assert read.dropped == ("b",)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "count", "dropped"),
    [
        ("arc_challenge_train", 1119, ()),
        ("arc_challenge_test", 1172, ()),
        ("arc_easy_train", 2251, ()),
        ("arc_easy_test", 2376, ()),
        ("blimp_train", 6699, ("principle_A_case_2-287",)),
        ("blimp_test", 6699, ("principle_A_case_2-105",)),
    ],
)
def test_real_files_hold_what_their_readme_counts(
    shared: Path, name: str, count: int, dropped: tuple[str, ...]
) -> None:
    read = read_question_file(shared / "data" / f"{name}.jsonl", equal_candidates="drop")
    assert (len(read.questions), read.dropped) == (count, dropped)
