"""Read examples.csv back: the very answers a head was trained on, as tokens."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from critical_phase.checkpoints.examples import Drawn, Example, encode_examples
from critical_phase.checkpoints.negatives import NO_QUESTION
from critical_phase.checkpoints.prompts import PromptFormat
from critical_phase.checkpoints.questions import Question
from critical_phase.errors import CheckpointError

_NEEDED = ("question_id", "answer", "answer_tokens")


def read_examples(
    path: Path,
    questions: Sequence[Question],
    tokenizer: PreTrainedTokenizerBase,
    style: PromptFormat,
) -> list[Example]:
    """Read the examples of a head in training order.

    Args:
        path: `examples.csv` of the head.
        questions: What the head was trained on.
        tokenizer: Of the base model.
        style: The prompt format of the training.

    Raises:
        CheckpointError: The file is missing or damaged, names a question that is not
            given, or its answers have other tokens than they had in training.
    """
    lines = _read(path)
    known = {question.id: question for question in questions}
    drawn = [_drawn(line, known, path) for line in lines]
    examples = encode_examples(tokenizer, style, drawn)
    for number, (line, item) in enumerate(zip(lines, examples, strict=True), start=2):
        if line["answer_tokens"] != str(len(item.answer_ids)):
            raise CheckpointError(
                f"line {number}: the answer has {len(item.answer_ids)} tokens, but had "
                f"{line['answer_tokens']} in training",
                where=str(path),
                fix="use the tokenizer and the prompt format of the training",
            )
    return examples


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
            lines = [] if missing else list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CheckpointError(
            f"cannot read the training examples: {error}",
            where=str(path),
            fix="only heads that probe train made note their examples; it writes them at the end",
        ) from error
    if missing or not lines:
        raise CheckpointError(
            f"the file has no column {missing[0]!r}" if missing else "the file has no example",
            where=str(path),
            fix="train the head again",
        )
    for number, line in enumerate(lines, start=2):
        if not all(line[name] for name in _NEEDED):
            raise CheckpointError(
                f"line {number} is cut short", where=str(path), fix="train the head again"
            )
    return lines


def _drawn(line: Mapping[str, str], known: Mapping[str, Question], path: Path) -> Drawn:
    name = line["question_id"]
    shown = line.get("shown_question_id", name)  # files without the column show every question
    for needed in {name, shown} - {NO_QUESTION}:
        if needed not in known:
            raise CheckpointError(
                f"question {needed!r} is not among the training questions of the run",
                where=str(path),
                fix="restore questions/train.jsonl, or train the head again",
            )
    question, answer, source = known[name], line["answer"], line.get("source", "")
    if shown == name:
        return Drawn(question, answer, source)
    text = "" if shown == NO_QUESTION else known[shown].question
    changed = replace(question, question=text)
    return Drawn(changed, answer, source, shown, None, question.question)
