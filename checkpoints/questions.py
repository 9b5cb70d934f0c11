"""Multiple-choice questions and the JSON-lines files that hold them."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from critical_phase.atomic import write_text
from critical_phase.errors import QuestionError

MAX_CANDIDATES = 26
Equal = Literal["refuse", "drop"]


@dataclass(frozen=True, slots=True)
class Question:
    """One item: a text, its possible answers, and which of them is right."""

    id: str
    """Unique in its file."""
    question: str
    """Text before the answer; empty for sentence pairs."""
    candidates: tuple[str, ...]
    """Possible answers, 2 to 26, all different."""
    answer: int
    """Index of the right candidate."""
    group: str = ""
    """Topic, for stratified reading; may be empty."""

    @property
    def right(self) -> str:
        """Text of the right candidate."""
        return self.candidates[self.answer]

    @property
    def wrong(self) -> tuple[str, ...]:
        """Texts of the wrong candidates, in listed order."""
        return self.candidates[: self.answer] + self.candidates[self.answer + 1 :]


@dataclass(frozen=True, slots=True)
class QuestionFile:
    """What a question file holds, and what was left out of it."""

    questions: tuple[Question, ...]
    dropped: tuple[str, ...]
    """Ids of questions with equal candidates, left out on request."""


def read_questions(path: Path) -> tuple[Question, ...]:
    """Read questions from JSON lines; see `read_question_file`."""
    return read_question_file(path).questions


def read_question_file(path: Path, *, equal_candidates: Equal = "refuse") -> QuestionFile:
    """Read questions from JSON lines.

    Args:
        path: File with one object per line: `id`, `question`, `candidates`,
            `answer`, and optionally `group`.
        equal_candidates: Whether a question that lists one text twice is an error, or is
            left out and named in the result (BLiMP has such pairs).

    Raises:
        QuestionError: The file is missing, empty or malformed; names line and field.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise QuestionError(
            f"cannot read the question file: {reason}",
            where=str(path),
            fix="give --questions a JSON-lines file, one question per line",
        ) from error
    everything = tuple(_parse_lines(text, path, equal_candidates))
    dropped = tuple(q.id for q in everything if len(set(q.candidates)) < len(q.candidates))
    questions = tuple(q for q in everything if q.id not in set(dropped))
    if not questions:
        raise QuestionError("the question file holds no question", where=str(path))
    return QuestionFile(questions, dropped)


def write_questions(path: Path, questions: Sequence[Question]) -> None:
    """Write questions as JSON lines, at once."""
    lines = (json.dumps(asdict(item), ensure_ascii=False, sort_keys=True) for item in questions)
    write_text(path, "".join(line + "\n" for line in lines))


def questions_sha256(questions: Sequence[Question]) -> str:
    """Hash the content of a question set; the order of questions counts."""
    digest = hashlib.sha256()
    for item in questions:
        digest.update(json.dumps(asdict(item), sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def _parse_lines(text: str, path: Path, equal: Equal) -> Iterator[Question]:
    seen: dict[str, int] = {}
    # Not splitlines(): U+2028 and friends are legal inside JSON strings.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        item = _parse_question(line, where, equal)
        if item.id in seen:
            raise QuestionError(
                f"field id: {item.id!r} was already used on line {seen[item.id]}",
                where=where,
                fix="give every question an id of its own",
            )
        seen[item.id] = number
        yield item


def _parse_question(line: str, where: str, equal: Equal) -> Question:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise QuestionError(
            f"not JSON: {error.msg} at column {error.colno}", where=where
        ) from error
    if not isinstance(value, dict):
        raise QuestionError("a line must hold one JSON object", where=where)
    missing = [key for key in ("id", "question", "candidates", "answer") if key not in value]
    if missing:
        found = ", ".join(sorted(value)) or "nothing"
        raise QuestionError(f"field {missing[0]} is missing; found {found}", where=where)
    candidates = _candidates(value["candidates"], where, equal)
    return Question(
        id=_string(value["id"], "id", where),
        question=_string(value["question"], "question", where),
        candidates=candidates,
        answer=_answer(value["answer"], len(candidates), where),
        group=_string(value.get("group") or "", "group", where),
    )


def _string(value: object, field: str, where: str) -> str:
    if not isinstance(value, str):
        raise QuestionError(f"field {field}: expected a string, found {value!r}", where=where)
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise QuestionError(f"field {field}: half of a surrogate pair is not text", where=where)
    return value


def _candidates(value: object, where: str, equal: Equal) -> tuple[str, ...]:
    if not isinstance(value, list) or not 2 <= len(value) <= MAX_CANDIDATES:
        size = len(value) if isinstance(value, list) else repr(value)
        raise QuestionError(
            f"field candidates: expected a list of 2 to {MAX_CANDIDATES} strings, found {size}",
            where=where,
        )
    texts = tuple(_string(item, f"candidates[{i}]", where) for i, item in enumerate(value))
    for index, text in enumerate(texts):
        if not text.strip():
            raise QuestionError(f"field candidates[{index}]: the text is empty", where=where)
        if equal == "refuse" and text in texts[:index]:
            raise QuestionError(
                f"field candidates: {text!r} is listed twice",
                where=where,
                fix="mend the line, or pass --equal-candidates drop to leave such questions out",
            )
    return texts


def _answer(value: object, size: int, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < size:
        raise QuestionError(
            f"field answer: expected an index from 0 to {size - 1}, found {value!r}", where=where
        )
    return value
