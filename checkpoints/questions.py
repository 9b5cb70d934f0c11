"""Multiple-choice questions, and the checks that every source of them passes."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from critical_phase.errors import QuestionError

MAX_CANDIDATES = 26
FIELDS = ("id", "question", "candidates", "answer")
Equal = Literal["refuse", "drop"]
Record = Mapping[str, object]
Row = tuple[str, Record]
"""Where a record stands, such as `line 3`, and the record."""


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
    """What a file or a named set holds, and what was left out of it."""

    questions: tuple[Question, ...]
    dropped: tuple[str, ...]
    """Ids of questions with equal or empty candidates, left out on request."""
    notes: tuple[str, ...] = ()
    """What a reader of the results should know about the source."""


def check_rows(rows: Iterable[Row], source: str, *, equal_candidates: Equal) -> QuestionFile:
    """Check records one by one and keep the questions in their order.

    Args:
        rows: Records with the place of each inside the source.
        source: File or set that messages name.
        equal_candidates: Whether a question that lists one text twice, or an empty one, is
            an error, or is left out and named in the result (BLiMP has such pairs).

    Raises:
        QuestionError: A record is malformed, an id is used twice, or nothing is left.
    """
    seen: dict[str, str] = {}
    kept: list[Question] = []
    dropped: list[str] = []
    for label, record in rows:
        where = f"{source}, {label}"
        item = _question(record, where, equal_candidates)
        if item.id in seen:
            raise QuestionError(
                f"field id: {item.id!r} was already used on {seen[item.id]}",
                where=where,
                fix="give every question an id of its own",
            )
        seen[item.id] = label
        if len({text for text in item.candidates if text.strip()}) < len(item.candidates):
            dropped.append(item.id)
        else:
            kept.append(item)
    if not kept:
        raise QuestionError("the question file holds no question", where=source)
    return QuestionFile(tuple(kept), tuple(dropped))


def questions_sha256(questions: Sequence[Question]) -> str:
    """Hash the content of a question set; the order of questions counts."""
    digest = hashlib.sha256()
    for item in questions:
        digest.update(json.dumps(asdict(item), sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def plain_text(text: str) -> str:
    """Reduce a text to what a reader would call the same: case and spaces do not count."""
    return " ".join(text.casefold().split())


def _question(record: Record, where: str, equal: Equal) -> Question:
    missing = [key for key in FIELDS if key not in record]
    if missing:
        found = ", ".join(sorted(record)) or "nothing"
        raise QuestionError(f"field {missing[0]} is missing; found {found}", where=where)
    candidates = _candidates(record["candidates"], where, equal)
    group = record.get("group")
    return Question(
        id=_string(record["id"], "id", where),
        question=_string(record["question"], "question", where),
        candidates=candidates,
        answer=_answer(record["answer"], len(candidates), where),
        group="" if group is None else _string(group, "group", where),
    )


def _string(value: object, field: str, where: str) -> str:
    if not isinstance(value, str):
        raise QuestionError(f"field {field}: expected a string, found {value!r}", where=where)
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise QuestionError(f"field {field}: half of a surrogate pair is not text", where=where)
    return value


def _candidates(value: object, where: str, equal: Equal) -> tuple[str, ...]:
    if not isinstance(value, list) or not 2 <= len(value) <= MAX_CANDIDATES:
        size = len(value) if isinstance(value, list) else f"{value!r}, no list"
        raise QuestionError(
            f"field candidates: expected a list of 2 to {MAX_CANDIDATES} strings, found {size}",
            where=where,
        )
    texts = tuple(_string(item, f"candidates[{i}]", where) for i, item in enumerate(value))
    if equal == "refuse":
        _refuse_equal(texts, where)
    return texts


def _refuse_equal(texts: tuple[str, ...], where: str) -> None:
    fix = "mend the question, or pass --equal-candidates drop to leave such questions out"
    for index, text in enumerate(texts):
        if not text.strip():
            message = f"field candidates[{index}]: the text is empty"
            raise QuestionError(message, where=where, fix=fix)
        if text in texts[:index]:
            message = f"field candidates: {text!r} is listed twice"
            raise QuestionError(message, where=where, fix=fix)


def _answer(value: object, size: int, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < size:
        raise QuestionError(
            f"field answer: expected an index from 0 to {size - 1}, found {value!r}", where=where
        )
    return value
