"""Question files: JSON lines, CSV or Parquet, chosen by the suffix of the name."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from critical_phase.atomic import write_text
from critical_phase.checkpoints.question_tables import (
    csv_text,
    read_csv,
    read_parquet,
    write_parquet,
)
from critical_phase.checkpoints.questions import Equal, Question, QuestionFile, Row, check_rows
from critical_phase.errors import QuestionError


def read_questions(path: Path) -> tuple[Question, ...]:
    """Read the questions of a file; see `read_question_file`."""
    return read_question_file(path).questions


def read_question_file(path: Path, *, equal_candidates: Equal = "refuse") -> QuestionFile:
    """Read questions from JSON lines, CSV or Parquet.

    Args:
        path: `.jsonl` or `.json` (one object per line), `.csv` or `.parquet`, with the
            fields `id`, `question`, `candidates`, `answer`, and optionally `group`.
        equal_candidates: Whether a question that lists one text twice is an error, or is
            left out and named in the result (BLiMP has such pairs).

    Raises:
        QuestionError: The file is missing, empty or malformed; names row and field.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise QuestionError(
            f"no reader for question files of the kind {path.suffix or 'without a suffix'!r}",
            where=str(path),
            fix=f"name the file after what it holds: {', '.join(READERS)}",
        )
    try:
        return check_rows(reader(path), str(path), equal_candidates=equal_candidates)
    except (OSError, UnicodeDecodeError) as error:
        text = isinstance(error, UnicodeDecodeError)
        reason = "not UTF-8 text" if text else getattr(error, "strerror", None) or str(error)
        raise QuestionError(
            f"cannot read the question file: {reason}",
            where=str(path),
            fix="give --questions a JSON-lines, CSV or Parquet file, one question per row",
        ) from error


def write_questions(path: Path, questions: Sequence[Question]) -> None:
    """Write questions at once, as JSON lines, CSV or Parquet by the suffix of the name.

    Raises:
        QuestionError: The suffix names none of the three.
    """
    match path.suffix.lower():
        case ".jsonl" | ".json":
            write_text(path, "".join(_json_line(item) for item in questions))
        case ".csv":
            write_text(path, csv_text(questions))
        case ".parquet":
            write_parquet(path, questions)
        case other:
            raise QuestionError(
                f"questions cannot be written as {other!r}",
                where=str(path),
                fix=f"choose from {', '.join(READERS)}",
            )


def read_json_lines(path: Path) -> Iterator[Row]:
    """Yield the objects of a JSON-lines file with their lines, blank lines left out."""
    # Not splitlines(): U+2028 and friends are legal inside JSON strings.
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise QuestionError(
                f"not JSON: {error.msg} at column {error.colno}", where=where
            ) from error
        if not isinstance(value, dict):
            raise QuestionError("a line must hold one JSON object", where=where)
        yield f"line {number}", value


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": read_json_lines,
    ".json": read_json_lines,
    ".csv": read_csv,
    ".parquet": read_parquet,
}


def _json_line(item: Question) -> str:
    return json.dumps(asdict(item), ensure_ascii=False, sort_keys=True) + "\n"
