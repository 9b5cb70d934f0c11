"""plan.csv: one line per row, for people and for the stages that never load a model."""

import csv
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from critical_phase.atomic import write_text
from critical_phase.errors import StoreError
from critical_phase.probes.plan import Plan

COLUMNS = (
    "row",
    "question",
    "candidate",
    "correct",
    "group",
    "tokens",
    "question_end",
    "answer_end",
    "characters",
    "bytes",
    "text",
)


@dataclass(frozen=True, eq=False)
class PlanTable:
    """The rows of a run as read from plan.csv."""

    question: Int[np.ndarray, " row"]
    """Question number, from 0, in order of first appearance."""
    question_ids: tuple[str, ...]
    """One id per question."""
    groups: tuple[str, ...]
    """One topic per question."""
    candidate: Int[np.ndarray, " row"]
    """Candidate number within its question."""
    correct: Bool[np.ndarray, " row"]
    """Whether the candidate is the right one."""
    tokens: Int[np.ndarray, " row"]
    """Tokens of the candidate."""
    characters: Int[np.ndarray, " row"]
    """Characters of the candidate."""
    bytes: Int[np.ndarray, " row"]
    """UTF-8 bytes of the candidate."""
    question_end: Int[np.ndarray, " row"]
    """Last token before the answer, from 0."""
    answer_end: Int[np.ndarray, " row"]
    """Last token of the answer, from 0."""
    texts: tuple[str, ...]
    """Candidate text, or `sha256:` and 16 digits where text was left out."""


def write_plan(plan: Plan, path: Path, *, no_text: bool = False) -> None:
    """Write plan.csv at once; an equal file is left alone.

    Args:
        plan: The rows.
        path: The file.
        no_text: Write a hash in place of every text.

    Raises:
        StoreError: Another plan is already there, or the disk is full.
    """
    if path.exists():
        check_plan(plan, path, no_text=no_text)
    else:
        write_text(path, _render(plan, no_text=no_text))


def check_plan(plan: Plan, path: Path, *, no_text: bool = False) -> None:
    """Refuse a plan where another one is stored; nothing is written.

    Args:
        plan: The rows.
        path: Where they would be written.
        no_text: As in `write_plan`.

    Raises:
        StoreError: Another plan is already there.
    """
    if not path.exists() or path.read_bytes() == _render(plan, no_text=no_text).encode():
        return
    stored = read_plan(path)
    raise StoreError(
        f"this run already has another plan: it holds {len(stored.question_ids)} questions in "
        f"{len(stored.question)} rows, and {len(plan.question_ids)} in {plan.rows} were asked "
        "for; questions, prompts, tokens or the setting of texts differ",
        where=str(path),
        fix="repeat the settings of the first collect (such as --limit, --seed), use another "
        "run folder, or collect all again with --overwrite",
    )


def read_plan(path: Path) -> PlanTable:
    """Read plan.csv.

    Raises:
        StoreError: The file is missing or is not a plan.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ValueError(f"its columns are {reader.fieldnames}")
            lines = list(reader)
        return _table(lines)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"cannot read the plan: {error}", where=str(path), fix="run probe collect again"
        ) from error


def _render(plan: Plan, *, no_text: bool) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in range(plan.rows):
        question = int(plan.question[row])
        writer.writerow(
            (
                row,
                plan.question_ids[question],
                int(plan.candidate[row]),
                int(plan.correct[row]),
                plan.groups[question],
                int(plan.tokens[row]),
                int(plan.question_end[row]),
                int(plan.answer_end[row]),
                int(plan.characters[row]),
                int(plan.bytes[row]),
                hidden(plan.texts[row]) if no_text else plan.texts[row],
            )
        )
    return out.getvalue()


def hidden(text: str) -> str:
    """Return a short hash that stands for a text."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()[:16]


def _table(lines: list[dict[str, str]]) -> PlanTable:
    names: dict[str, int] = {}
    groups: list[str] = []
    for line in lines:
        if line["question"] not in names:
            names[line["question"]] = len(names)
            groups.append(line["group"])

    def column(name: str) -> Int[np.ndarray, " row"]:
        return np.array([int(line[name]) for line in lines], dtype=np.int64)

    return PlanTable(
        question=np.array([names[line["question"]] for line in lines], dtype=np.int64),
        question_ids=tuple(names),
        groups=tuple(groups),
        candidate=column("candidate"),
        correct=column("correct").astype(np.bool_),
        tokens=column("tokens"),
        characters=column("characters"),
        bytes=column("bytes"),
        question_end=column("question_end"),
        answer_end=column("answer_end"),
        texts=tuple(line["text"] for line in lines),
    )
