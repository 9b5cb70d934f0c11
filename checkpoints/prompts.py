r"""How a question and a candidate become tokens, the same in training and scoring.

Training text and evaluation text must be the same string (arXiv 2503.14391 trains
and scores `Question: ...\nAnswer: ...`); a tokenizer that merges a space into the
next word makes "Answer:" + " solid" differ from "Answer: " + "solid".
"""

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
    "cloze": PromptFormat("cloze", "Question: {question}\nAnswer:"),
    "plain": PromptFormat("plain", "{question}"),
}


@dataclass(frozen=True, slots=True)
class Encoded:
    """One row as tokens: what is given, and what is scored."""

    question_ids: tuple[int, ...]
    """Begin-of-sequence token (where the tokenizer has one) and the prompt."""
    answer_ids: tuple[int, ...]
    """Tokens of the candidate; only these are trained on and scored."""
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
    tokenizer: PreTrainedTokenizerBase, style: PromptFormat, question: Question, candidate: str
) -> Encoded:
    """Turn one question with one candidate into tokens.

    Raises:
        ConfigError: Nothing precedes the answer (an empty question and a tokenizer
            without a begin-of-sequence token), or the candidate has no token.
    """
    prompt = style.prompt(question.question)
    continuation = style.continuation(question.question, candidate)
    start = () if tokenizer.bos_token_id is None else (int(tokenizer.bos_token_id),)
    before = _ids(tokenizer, prompt)
    together = _ids(tokenizer, prompt + continuation)
    joint = together[: len(before)] == before
    answer = together[len(before) :] if joint else _ids(tokenizer, continuation)
    if not start + before:
        raise ConfigError(
            f"question {question.id!r} is empty and the tokenizer has no begin-of-sequence token",
            fix="set bos_token in the tokenizer, or give the questions a text",
        )
    if not answer:
        raise ConfigError(f"question {question.id!r}: candidate {candidate!r} has no token")
    return Encoded(start + before, answer, "joint" if joint else "separate")


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    if not text:
        return ()
    return tuple(int(i) for i in tokenizer(text, add_special_tokens=False)["input_ids"])
