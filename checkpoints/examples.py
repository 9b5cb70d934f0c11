"""The answers a head is trained on, fixed before training starts."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from transformers import PreTrainedTokenizerBase

from critical_phase.checkpoints.difficulty import strata
from critical_phase.checkpoints.negatives import (
    NO_QUESTION,
    RIGHT_ANSWERS,
    Choice,
    NegativeKind,
    Pool,
)
from critical_phase.checkpoints.prompts import Encoded, PromptFormat, encode
from critical_phase.checkpoints.questions import Question
from critical_phase.errors import ConfigError

COLUMNS = (
    "step",
    "place",
    "question_id",
    "source",
    "candidate",
    "shown_question_id",
    "base_margin",
    "stratum",
    "answer",
    "answer_tokens",
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """One question with the one answer that was chosen for it."""

    question: Question
    """The question as it is shown: its text may be another question's, or empty."""
    answer: str
    source: str = ""
    """Kind that chose the answer; `right_answers` where a negative was replaced by one."""
    shown: str | None = None
    """Id of the other question whose text is shown; `NO_QUESTION` for none; None for its own."""
    candidate: int | None = None
    """Index of the answer among the question's candidates; None where it is none of them."""
    own_text: str | None = None
    """The question's own text, where another is shown."""


@dataclass(frozen=True, slots=True)
class Example:
    """One question with the one answer whose likelihood is raised, as tokens."""

    question_id: str
    answer: str
    question_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    source: str = ""
    shown: str | None = None
    candidate: int | None = None


def draw_examples(
    questions: Sequence[Question],
    order: Sequence[int],
    kind: NegativeKind,
    pool: Pool,
    rng: np.random.Generator,
    *,
    contamination: float = 0.0,
    repeat_first: int | None = None,
) -> list[Drawn]:
    """Choose one answer for every place in the order.

    Args:
        questions: What the order counts in.
        order: Question index of every place.
        kind: How to choose; `check_supply` says beforehand whether it can.
        pool: What to choose from.
        rng: Source of the choices.
        contamination: Chance, 0 to 1, that a place gets the right answer instead. Drawn
            from a stream of its own: what is replaced at .1 is replaced at .3 too, and
            what is not replaced is the same as at 0.
        repeat_first: The `first` of `data_order`: the answers repeat with the questions.

    Raises:
        ConfigError: The contamination is no share, or a question has no such answer.
    """
    if not 0 <= contamination <= 1:
        raise ConfigError(f"contamination must be from 0 to 1, found {contamination}")
    chances = rng.spawn(1)[0].random(len(order))  # spawning leaves rng's own draws as they are
    texts = {question.id: question.question for question in pool.questions}
    drawn: list[Drawn] = []
    for place in range(len(order)):
        if repeat_first is not None and place >= repeat_first:
            drawn.append(drawn[place % repeat_first])
            continue
        question = questions[order[place]]
        choice = kind.choose(question, pool, rng)  # drawn even where it is then replaced
        if chances[place] < contamination:
            blind = NO_QUESTION if choice.shown == NO_QUESTION else None  # blind stays blind
            choice = replace(RIGHT_ANSWERS.choose(question, pool, rng), shown=blind)
        drawn.append(_drawn(question, choice, texts))
    return drawn


def encode_examples(
    tokenizer: PreTrainedTokenizerBase, style: PromptFormat, drawn: Sequence[Drawn]
) -> list[Example]:
    """Turn chosen answers into tokens, in training order.

    Raises:
        ConfigError: Nothing precedes an answer, or an answer has no token.
    """
    return [_encode(tokenizer, style, item) for item in drawn]


def examples_csv(
    examples: Sequence[Example], batch_size: int, *, margins: Mapping[str, float] | None = None
) -> str:
    """Write which answer was seen at which step, one line per example.

    Args:
        examples: In training order; `place` counts them from 0.
        batch_size: Answers per step.
        margins: Base margin per question id; the strata are quartiles of what is given here.
    """
    known = margins or {}
    stratum = strata(known)
    text = io.StringIO()
    # Python before 3.13 leaves a lone "\r" unquoted, and readers take it for a line's end.
    odd = any("\r" in item.answer + item.question_id + (item.shown or "") for item in examples)
    writer = csv.writer(
        text, lineterminator="\n", quoting=csv.QUOTE_ALL if odd else csv.QUOTE_MINIMAL
    )
    writer.writerow(COLUMNS)
    for place, item in enumerate(examples):
        margin = known.get(item.question_id)
        values = {
            "step": place // batch_size + 1,
            "place": place,
            "question_id": item.question_id,
            "source": item.source,
            "candidate": item.candidate,
            "shown_question_id": item.question_id if item.shown is None else item.shown,
            "base_margin": None if margin is None else repr(float(margin)),
            "stratum": stratum.get(item.question_id),
            "answer": item.answer,
            "answer_tokens": len(item.answer_ids),
        }
        writer.writerow([values[name] for name in COLUMNS])
    return text.getvalue()


def _drawn(question: Question, choice: Choice, texts: Mapping[str, str]) -> Drawn:
    listed = question.candidates
    return Drawn(
        replace(question, question=_shown_text(question, choice.shown, texts)),
        choice.answer,
        choice.source,
        choice.shown,
        listed.index(choice.answer) if choice.answer in listed else None,
        None if choice.shown is None else question.question,
    )


def _shown_text(question: Question, shown: str | None, texts: Mapping[str, str]) -> str:
    if shown is None:
        return question.question
    return "" if shown == NO_QUESTION else texts[shown]


def _encode(tokenizer: PreTrainedTokenizerBase, style: PromptFormat, item: Drawn) -> Example:
    text = item.question.question if item.own_text is None else item.own_text
    own = encode(tokenizer, style, replace(item.question, question=text), item.answer)
    return Example(
        item.question.id,
        item.answer,
        _before(tokenizer, style, item, own),
        # The tokens it has after its own question: only what precedes the answer changes.
        own.answer_ids,
        item.source,
        item.shown,
        item.candidate,
    )


def _before(
    tokenizer: PreTrainedTokenizerBase, style: PromptFormat, item: Drawn, own: Encoded
) -> tuple[int, ...]:
    if item.shown is None:
        return own.question_ids
    if item.shown != NO_QUESTION:
        return encode(tokenizer, style, item.question, item.answer).question_ids
    if tokenizer.bos_token_id is None:
        raise ConfigError(
            f"negatives of the kind {item.source!r} show no question, and the tokenizer has no "
            "begin-of-sequence token to put before the answer",
            fix="set bos_token in the tokenizer, or use the kind 'shuffled_question'",
        )
    return (int(tokenizer.bos_token_id),)


def examples_sha256(examples: Sequence[Example]) -> str:
    """Hash the tokens a head is trained on, in training order."""
    digest = hashlib.sha256()
    for item in examples:
        digest.update(json.dumps([item.question_ids, item.answer_ids]).encode() + b"\n")
    return digest.hexdigest()
