import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critical_phase.checkpoints import (
    Question,
    read_question_file,
    read_questions,
    write_questions,
)
from critical_phase.errors import QuestionError

SUFFIXES = (".jsonl", ".csv", ".parquet")
ROW = {"id": "a", "question": "sky?", "candidates": ["blue", "red"], "answer": 0, "group": "g"}
SKY = Question("a", "sky?", ("blue", "red"), 0, "g")

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
candidates = st.lists(texts.filter(str.strip), min_size=2, max_size=26, unique=True)


rows = st.lists(
    st.tuples(texts, texts, candidates, st.integers(0, 25), texts),
    min_size=1,
    max_size=4,
    unique_by=lambda row: row[0],
)


def _csv(folder: Path, *rows: list[object]) -> Path:
    path = folder / "q.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path


def _parquet(folder: Path, *rows: dict[str, Any]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows)), folder / "q.parquet")
    return folder / "q.parquet"


@given(drawn=rows)
@settings(max_examples=60, deadline=None)
def test_any_questions_come_back_the_same_from_every_kind_of_file(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Any]
) -> None:
    made = [Question(i, q, tuple(c), a % len(c), g) for i, q, c, a, g in drawn]
    folder = tmp_path_factory.mktemp("kinds")
    for suffix in SUFFIXES:
        write_questions(folder / f"q{suffix}", made)
        assert read_questions(folder / f"q{suffix}") == tuple(made), suffix


def test_the_suffix_may_be_in_capitals_and_json_means_lines(tmp_path: Path) -> None:
    for name in ("q.JSONL", "q.json", "q.CSV", "q.Parquet"):
        write_questions(tmp_path / name, [SKY])
        assert read_questions(tmp_path / name) == (SKY,)


def test_columns_of_candidates_end_where_cells_are_empty(tmp_path: Path) -> None:
    header = ["id", "question", "candidate_0", "candidate_1", "candidate_2", "answer", "note"]
    path = _csv(
        tmp_path,
        header,
        ["a", "sky, or sea?", "blue", 'the "red"', "", "1", "x"],
        [],
        ["b", "", "x", "y", "z\nz", " 2 ", ""],
    )
    assert read_questions(path) == (
        Question("a", "sky, or sea?", ("blue", 'the "red"'), 1),
        Question("b", "", ("x", "y", "z\nz"), 2),
    )
    rows = [
        {"id": "a", "question": "q", "candidate_1": "red", "candidate_0": "blue", "answer": 1},
        {"id": "b", "question": "q", "candidate_1": "y", "candidate_0": "x", "answer": 0},
    ]
    table = _parquet(tmp_path, *({**row, "candidate_2": None, "group": None} for row in rows))
    assert read_questions(table)[0] == Question("a", "q", ("blue", "red"), 1)


def test_ten_numbered_candidates_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = [f"candidate_{i}" for i in range(11)]
    values = [f"text {i}" for i in range(11)]
    path = _csv(tmp_path, ["id", "question", *names, "answer"], ["a", "q", *values, "10"])
    assert read_questions(path)[0].right == "text 10"


def test_the_mark_of_a_spreadsheet_is_not_part_of_a_name(tmp_path: Path) -> None:
    path = _csv(tmp_path, ["id", "question", "candidates", "answer"], ["a", "q", '["x","y"]', 0])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_questions(path)[0].candidates == ("x", "y")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candidates": ["x"]}, "field candidates: expected a list of 2 to 26 strings, found 1"),
        ({"candidates": ["x", "x"]}, "field candidates: 'x' is listed twice"),
        ({"candidates": ["x", " "]}, r"field candidates\[1\]: the text is empty"),
        ({"answer": 2}, "field answer: expected an index from 0 to 1, found 2"),
        ({"answer": -1}, "field answer: expected an index from 0 to 1, found '?-1"),
        ({"id": "first"}, "field id: 'first' was already used on (line|row) 1"),
    ],
)
def test_every_kind_of_file_names_row_and_field(
    tmp_path: Path, suffix: str, change: dict[str, Any], message: str
) -> None:
    rows = [{**ROW, "id": "first"}, {**ROW, **change}]
    path = tmp_path / f"q{suffix}"
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif suffix == ".csv":
        cells = ({**row, "candidates": json.dumps(row["candidates"])} for row in rows)
        _csv(tmp_path, list(ROW), *(list(row.values()) for row in cells))
    else:
        _parquet(tmp_path, *rows)
    with pytest.raises(QuestionError, match=message) as caught:
        read_questions(path)
    assert caught.value.where == f"{path}, {'line' if suffix == '.jsonl' else 'row'} 2"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["id", "question", "answer"], ["a", "q", "0"]], "field candidates is missing; found an"),
        ([["id", "id", "answer"]], "column 'id' is there twice"),
        ([["id", "candidates", "candidate_0"]], "candidates are given twice"),
        ([list(ROW), ["a", "q", "[x", "0", ""]], r"field candidates: not a JSON list: '\[x'"),
        (
            [list(ROW), ["a", "q", "3", "0", ""]],
            "expected a list of 2 to 26 strings, found 3, no list",
        ),
        ([list(ROW), ["a", "q", '["x","y"]', "0.0", ""]], "from 0 to 1, found '0.0'"),
        ([list(ROW), ["a", "q", '["x","y"]', "", ""]], "from 0 to 1, found ''"),
        ([list(ROW), ["a", "q", "x", "y", "0", ""]], "expected 5 cells, found 6"),
        (
            [["id", "candidate_0", "candidate_1", "candidate_2"], ["a", "x", "", "z"]],
            "field candidate_1 is empty, but candidate_2 is not",
        ),
        ([["id"]], "holds no question"),
        ([], "holds no question"),
    ],
)
def test_a_malformed_csv_file_says_what_is_wrong(
    tmp_path: Path, rows: list[list[object]], message: str
) -> None:
    with pytest.raises(QuestionError, match=message):
        read_questions(_csv(tmp_path, *rows))


def test_a_quote_that_never_closes_names_its_row(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text('id,question\na,"never closed\n')
    with pytest.raises(QuestionError, match="not CSV: unexpected end of data") as caught:
        read_questions(tmp_path / "q.csv")
    assert caught.value.where.endswith("q.csv, row 1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": 3}, "field id: expected a string, found 3"),
        ({"question": None}, "field question: expected a string, found None"),
        ({"answer": 0.0}, "field answer: expected an index from 0 to 1, found 0.0"),
        ({"candidates": "x, y"}, "expected a list of 2 to 26 strings, found 'x, y'"),
    ],
)
def test_a_column_of_another_type_is_named(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(QuestionError, match=message):
        read_questions(_parquet(tmp_path, {**ROW, **change}))


@pytest.mark.parametrize("damage", [b"", b"PAR1 nothing of the kind PAR1", b"\xff\xfe"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, suffix: str, damage: bytes) -> None:
    path = tmp_path / f"q{suffix}"
    path.write_bytes(damage)
    with pytest.raises(QuestionError) as caught:
        read_questions(path)
    assert str(path) in caught.value.where


def test_another_suffix_names_the_kinds_that_are_read(tmp_path: Path) -> None:
    (tmp_path / "q.tsv").write_text("id\n")
    with pytest.raises(QuestionError, match=r"kind '\.tsv'") as caught:
        read_questions(tmp_path / "q.tsv")
    assert caught.value.fix.endswith(".jsonl, .json, .csv, .parquet")
    with pytest.raises(QuestionError, match="cannot be written as"):
        write_questions(tmp_path / "q.tsv", [SKY])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_equal_and_empty_candidates_are_dropped_on_request(tmp_path: Path, suffix: str) -> None:
    made = [SKY, Question("b", "q", ("x", "x"), 0), Question("c", "q", ("x", " "), 0)]
    write_questions(tmp_path / f"q{suffix}", made)
    read = read_question_file(tmp_path / f"q{suffix}", equal_candidates="drop")
    assert (read.questions, read.dropped) == ((SKY,), ("b", "c"))


@pytest.mark.real
@pytest.mark.parametrize("suffix", SUFFIXES[1:])
def test_real_questions_are_the_same_in_every_kind_of_file(
    shared: Path, tmp_path: Path, suffix: str
) -> None:
    real = read_questions(shared / "data" / "arc_easy_train.jsonl")
    write_questions(tmp_path / f"q{suffix}", real)
    assert read_questions(tmp_path / f"q{suffix}") == real
