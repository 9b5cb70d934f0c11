r"""How a question and a candidate become tokens, the same in training and scoring.

Training text and evaluation text must be the same string (arXiv 2503.14391 trains
and scores `Question: ...\nAnswer: ...`); a tokenizer that merges a space into the
next word makes "Answer:" + " solid" differ from "Answer: " + "solid".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedTokenizerBase

from critical_phase.checkpoints.questions import Question
from critical_phase.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """A way to write a question; the candidate follows after one space."""

    name: str
    template: str
    """Text before the answer, with `{question}` in it."""

    def prompt(self, question: str) -> str:
        """Return the text before the answer; empty for an empty question."""
        return self.template.replace("{question}", question) if question else ""

    def continuation(self, question: str, candidate: str) -> str:
        """Return the text of the answer, with its leading space where one is due."""
        return f" {candidate}" if question else candidate


PROMPTS = {
    # The paper's format, in training and evaluation.
    "cloze": PromptFormat("cloze", "Question: {question}\nAnswer:"),
    "plain": PromptFormat("plain", "{question}"),
    # The released code trains with a blank line before the question and scores without it.
    # Only to repeat that training: `cloze` is the same text without the mismatch.
    "likra_code": PromptFormat("likra_code", "\n\nQuestion: {question}\nAnswer:"),
    # Usual for TruthfulQA.
    "qa": PromptFormat("qa", "Q: {question}\nA:"),
}


# Texts that tokenizers seldom merge with what follows.
ANCHORS = ("\n", ".", "0")


@dataclass(frozen=True, slots=True)
class Encoded:
    """One row as tokens: what is given, and what is scored."""

    question_ids: tuple[int, ...]
    """Begin-of-sequence token (where the tokenizer has one) and the prompt."""
    answer_ids: tuple[int, ...]
    """Tokens of the candidate; only these are trained on and scored. No end token is added."""
    boundary: Literal["joint", "separate"]
    """`separate` where the tokenizer would merge across the start of the answer."""


def prompt_format(name: str) -> PromptFormat:
    """Look up a prompt format by name.

    Raises:
        ConfigError: No format has this name.
    """
    if name not in PROMPTS:
        raise ConfigError(f"no prompt format {name!r}", fix=f"choose from {', '.join(PROMPTS)}")
    return PROMPTS[name]


def encode(
    tokenizer: PreTrainedTokenizerBase,
    style: PromptFormat,
    question: Question,
    candidate: str,
    *,
    prefix: str = "",
) -> Encoded:
    """Turn one question with one candidate into tokens.

    Args:
        tokenizer: The model's own.
        style: How the question is written.
        question: What is asked.
        candidate: The answer that follows.
        prefix: Text before the prompt, such as demonstrations; a blank line joins it.

    Raises:
        ConfigError: Nothing precedes the answer (an empty question and a tokenizer
            without a begin-of-sequence token), or the candidate has no token.
    """
    prompt = style.prompt(question.question)
    given = f"{prefix}\n\n{prompt}" if prefix else prompt
    continuation = style.continuation(question.question, candidate)
    start = () if tokenizer.bos_token_id is None else (int(tokenizer.bos_token_id),)
    before = _ids(tokenizer, given)
    together = _ids(tokenizer, given + continuation)
    joint = together[: len(before)] == before
    answer = (
        together[len(before) :] if joint else _separate(tokenizer, before, together, continuation)
    )
    if not start + before:
        raise ConfigError(
            f"question {question.id!r} is empty and the tokenizer has no begin-of-sequence token",
            fix="set bos_token in the tokenizer, or give the questions a text",
        )
    if not answer:
        raise ConfigError(f"question {question.id!r}: candidate {candidate!r} has no token")
    return Encoded(start + before, answer, "joint" if joint else "separate")


def _separate(
    tokenizer: PreTrainedTokenizerBase,
    before: tuple[int, ...],
    together: tuple[int, ...],
    continuation: str,
) -> tuple[int, ...]:
    """Tokenize the answer alone, so that it reads after the prompt as in the whole text."""
    wanted = _text(tokenizer, together)
    ways = list(_ways(tokenizer, continuation))
    # A tokenizer that loses text reads back otherwise in every way: the first is as good.
    return next((way for way in ways if _text(tokenizer, before + way) == wanted), ways[0])


def _ways(tokenizer: PreTrainedTokenizerBase, continuation: str) -> Iterator[tuple[int, ...]]:
    yield _ids(tokenizer, continuation)
    # SentencePiece puts a space before any text: " solid" alone would have two, and "solid"
    # has the one that is due ...
    yield _ids(tokenizer, continuation.removeprefix(" "))
    # ... but an answer that starts a line has none, which shows behind another text.
    for anchor in ANCHORS:
        alone, followed = _ids(tokenizer, anchor), _ids(tokenizer, anchor + continuation)
        if followed[: len(alone)] == alone:
            yield followed[len(alone) :]


def _text(tokenizer: PreTrainedTokenizerBase, ids: tuple[int, ...]) -> str:
    return str(tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    if not text:
        return ()
    return tuple(int(i) for i in tokenizer(text, add_special_tokens=False)["input_ids"])
