"""Fix, once per run, which rows are read and where: row r is the same text at every step."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int
from transformers import PreTrainedTokenizerBase

from critical_phase.checkpoints import PromptFormat, Question, encode
from critical_phase.errors import ConfigError

POSITIONS = ("question_end", "answer_end")


@dataclass(frozen=True, eq=False)
class Plan:
    """Every (question, candidate) as tokens; the rows of one question are neighbours."""

    question_ids: tuple[str, ...]
    """One id per question."""
    groups: tuple[str, ...]
    """One topic per question; may be empty."""
    question_texts: tuple[str, ...]
    """One text per question, as given."""
    prompts: tuple[tuple[int, ...], ...]
    """Tokens before the answer, one tuple per question, begin-of-sequence included."""
    answers: tuple[tuple[int, ...], ...]
    """Tokens of the candidate, one tuple per row."""
    texts: tuple[str, ...]
    """Candidate text, one per row."""
    question: Int[np.ndarray, " row"]
    """Question number of each row, from 0."""
    candidate: Int[np.ndarray, " row"]
    """Candidate number of each row within its question, from 0."""
    correct: Bool[np.ndarray, " row"]
    """Whether the candidate is the right one."""
    prompt_format: str
    """Name of the format that made the tokens."""
    asked: tuple[tuple[int, int], ...] = ()
    """First token of the question's own text and the one after its last, one pair per prompt;
    the rest of a prompt is template. Empty where the tokenizer cannot tell."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.answers)

    @cached_property
    def tokens(self) -> Int[np.ndarray, " row"]:
        """Tokens of each candidate: those that are scored."""
        return np.array([len(answer) for answer in self.answers], dtype=np.int64)

    @cached_property
    def characters(self) -> Int[np.ndarray, " row"]:
        """Unicode characters of each candidate's text."""
        return np.array([len(text) for text in self.texts], dtype=np.int64)

    @cached_property
    def bytes(self) -> Int[np.ndarray, " row"]:
        """UTF-8 bytes of each candidate's text."""
        return np.array([len(text.encode()) for text in self.texts], dtype=np.int64)

    @cached_property
    def question_end(self) -> Int[np.ndarray, " row"]:
        """Number of the last token before the answer, from 0, in the row's own tokens."""
        ends = [len(self.prompts[question]) - 1 for question in self.question.tolist()]
        return np.array(ends, dtype=np.int64)

    @cached_property
    def answer_end(self) -> Int[np.ndarray, " row"]:
        """Number of the last token of the answer, from 0, in the row's own tokens."""
        return np.asarray(self.question_end + self.tokens)

    @cached_property
    def key_length(self) -> Int[np.ndarray, " row"]:
        """Tokens that the last token of each row can attend to, itself included."""
        return np.asarray(self.answer_end + 1)

    @cached_property
    def rows_of(self) -> tuple[tuple[int, ...], ...]:
        """Row numbers of each question."""
        lists: list[list[int]] = [[] for _ in self.question_ids]
        for row, question in enumerate(self.question.tolist()):
            lists[question].append(row)
        return tuple(map(tuple, lists))

    @cached_property
    def sha256(self) -> str:
        """Hash of every token, text, order and label: two runs with one hash read the same."""
        digest = hashlib.sha256()
        parts = (
            self.question_ids,
            self.groups,
            self.question_texts,
            self.prompts,
            self.answers,
            self.texts,
            self.question.tolist(),
            self.candidate.tolist(),
            self.correct.tolist(),
        )
        for part in parts:
            digest.update(json.dumps(part, separators=(",", ":")).encode() + b"\n")
        return digest.hexdigest()


def make_plan(
    questions: Sequence[Question],
    tokenizer: PreTrainedTokenizerBase,
    prompt_format: PromptFormat,
) -> Plan:
    """Turn questions into rows, tokens and read positions.

    Args:
        questions: In the order in which they are numbered.
        tokenizer: Of the base model.
        prompt_format: How a question and a candidate become text.

    Raises:
        ConfigError: No question, or nothing stands before an answer (an empty question
            and a tokenizer without a begin-of-sequence token).
    """
    if not questions:
        raise ConfigError("the plan has no question", fix="give at least one question")
    prompts: list[tuple[int, ...]] = []
    answers: list[tuple[int, ...]] = []
    for item in questions:
        encoded = [encode(tokenizer, prompt_format, item, text) for text in item.candidates]
        starts = {one.question_ids for one in encoded}
        if len(starts) != 1 or not encoded[0].question_ids:
            raise ConfigError(
                f"question {item.id!r}: its candidates do not share the tokens before the answer",
                fix="use a prompt format that ends before the space of the answer",
            )
        prompts.append(encoded[0].question_ids)
        answers += [one.answer_ids for one in encoded]
    pairs = [(q, c) for q, item in enumerate(questions) for c in range(len(item.candidates))]
    return Plan(
        question_ids=tuple(item.id for item in questions),
        groups=tuple(item.group for item in questions),
        question_texts=tuple(item.question for item in questions),
        prompts=tuple(prompts),
        answers=tuple(answers),
        texts=tuple(text for item in questions for text in item.candidates),
        question=np.array([q for q, _ in pairs], dtype=np.int64),
        candidate=np.array([c for _, c in pairs], dtype=np.int64),
        correct=np.array([questions[q].answer == c for q, c in pairs], dtype=np.bool_),
        prompt_format=prompt_format.name,
        asked=_asked(questions, tokenizer, prompt_format, prompts),
    )


def _asked(
    questions: Sequence[Question],
    tokenizer: PreTrainedTokenizerBase,
    prompt_format: PromptFormat,
    prompts: Sequence[tuple[int, ...]],
) -> tuple[tuple[int, int], ...]:
    """Find the question's own text among each prompt's tokens; a token on its edge counts."""
    if not tokenizer.is_fast:
        return ()
    spans: list[tuple[int, int]] = []
    before = len(prompt_format.template.split("{question}")[0])
    for item, prompt in zip(questions, prompts, strict=True):
        text, stop = prompt_format.prompt(item.question), before + len(item.question)
        found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        offsets = found["offset_mapping"] if text else []
        start = len(prompt) - len(offsets)
        own = [i for i, (a, b) in enumerate(offsets) if a < stop and b > before]
        spans.append((start + own[0], start + own[-1] + 1) if own else (start, start))
    return tuple(spans)


def check_fits(plan: Plan, max_positions: int | None) -> None:
    """Refuse a plan whose longest row does not fit the model.

    Raises:
        ConfigError: A row has more tokens than the model has positions.
    """
    longest = int(plan.key_length.max())
    if max_positions is not None and longest > max_positions:
        row = int(plan.key_length.argmax())
        name = plan.question_ids[int(plan.question[row])]
        raise ConfigError(
            f"row {row} (question {name!r}) has {longest} tokens, "
            f"but the model reads at most {max_positions}",
            fix="leave long questions out, or use a model with a longer context",
        )
