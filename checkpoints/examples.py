"""The answers a head is trained on, fixed before training starts."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from critical_phase.checkpoints.negatives import Choice
from critical_phase.checkpoints.prompts import PromptFormat, encode
from critical_phase.checkpoints.questions import Question


@dataclass(frozen=True, slots=True)
class Example:
    """One question with the one answer whose likelihood is raised."""

    question_id: str
    answer: str
    question_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]


def data_order(count: int, needed: int, rng: np.random.Generator) -> list[int]:
    """Return `needed` question indices: whole shuffled passes, one after another."""
    order: list[int] = []
    while len(order) < needed:
        order.extend(int(i) for i in rng.permutation(count))
    return order[:needed]


def draw_examples(
    questions: Sequence[Question],
    order: Sequence[int],
    choice: Choice,
    texts: Sequence[str],
    rng: np.random.Generator,
) -> list[tuple[Question, str]]:
    """Choose one answer for every place in the order."""
    return [(questions[i], choice(questions[i], questions, texts, rng)) for i in order]


def encode_examples(
    tokenizer: PreTrainedTokenizerBase,
    style: PromptFormat,
    drawn: Sequence[tuple[Question, str]],
) -> list[Example]:
    """Turn chosen answers into tokens, in training order."""
    examples = []
    for question, answer in drawn:
        row = encode(tokenizer, style, question, answer)
        examples.append(Example(question.id, answer, row.question_ids, row.answer_ids))
    return examples


def examples_csv(examples: Sequence[Example], batch_size: int) -> str:
    """Write which answer was seen at which step, one line per example."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", "question_id", "answer", "answer_tokens"])
    for index, item in enumerate(examples):
        step = index // batch_size + 1
        writer.writerow([step, item.question_id, item.answer, len(item.answer_ids)])
    return text.getvalue()
