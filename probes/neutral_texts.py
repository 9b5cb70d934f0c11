"""Neutral texts as rows: texts that have nothing to do with the questions."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from transformers import PreTrainedTokenizerBase

from critical_phase.errors import ConfigError
from critical_phase.probes.plan import Plan


@dataclass(frozen=True, eq=False)
class NeutralTexts:
    """Texts cut into windows; every token but the very first of a text is predicted once."""

    texts: tuple[str, ...]
    """In the order given."""
    owner: Int[np.ndarray, " window"]
    """Text that each window belongs to, from 0."""
    plan: Plan
    """One row per window: its first token is given, the others are predicted."""
    window: int
    """Most tokens of one window."""

    @cached_property
    def tokens(self) -> Int[np.ndarray, " text"]:
        """Tokens that are predicted, per text."""
        return self.add_up(self.plan.tokens.astype(np.float64)).astype(np.int64)

    @cached_property
    def windows(self) -> Int[np.ndarray, " text"]:
        """Windows of each text."""
        return np.bincount(self.owner, minlength=len(self.texts))

    @cached_property
    def sha256(self) -> str:
        """Hash of the texts, their tokens and where they are cut."""
        digest = hashlib.sha256(json.dumps(self.texts).encode())
        digest.update(f"{self.window} {self.plan.sha256}".encode())
        return digest.hexdigest()

    def add_up(self, values: Float[np.ndarray, " window"]) -> Float[np.ndarray, " text"]:
        """Add the values of each text's windows."""
        return np.bincount(self.owner, weights=values, minlength=len(self.texts))

    def mean(self, values: Float[np.ndarray, " window"]) -> Float[np.ndarray, " text"]:
        """Average per-window means over each text's predicted tokens."""
        return np.asarray(self.add_up(values * self.plan.tokens) / self.tokens)


def encode_texts(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, window: int
) -> NeutralTexts:
    """Turn texts into windows of tokens.

    A text longer than a window goes on in the next one, whose first token is the last of
    the window before: nothing is dropped and nothing predicted twice, but a token near
    the start of a window is predicted from few others.

    Args:
        texts: At least one.
        tokenizer: Of the base model; its begin-of-sequence token opens every text.
        window: Most tokens of one window, at least 2.

    Raises:
        ConfigError: No text, too small a window, or a text without a token to predict.
    """
    if not texts:
        raise ConfigError("there is no neutral text", fix="give at least one text")
    if window < 2:
        raise ConfigError(f"a window of {window} tokens predicts nothing", fix="give 2 or more")
    start = [] if tokenizer.bos_token_id is None else [int(tokenizer.bos_token_id)]
    owner, pieces = [], []
    for number, text in enumerate(texts):
        ids = start + [int(i) for i in tokenizer(text, add_special_tokens=False)["input_ids"]]
        if len(ids) < 2:
            raise ConfigError(
                f"text {number + 1} ({text[:40]!r}) has no token that can be predicted",
                fix="leave it out, or join it with its neighbour",
            )
        for begin in range(0, len(ids) - 1, window - 1):
            owner.append(number)
            pieces.append(tuple(ids[begin : begin + window]))
    return NeutralTexts(tuple(texts), np.array(owner, dtype=np.int64), _plan(pieces), window)


def unknown_share(texts: NeutralTexts, tokenizer: PreTrainedTokenizerBase) -> float:
    """Return the share of predicted tokens that stand for words the tokenizer does not know.

    A byte-level tokenizer knows every text: its share is 0.
    """
    unknown = _unknown_id(tokenizer)
    if unknown is None:
        return 0.0
    count = sum(answer.count(unknown) for answer in texts.plan.answers)
    return count / int(texts.tokens.sum())


def _unknown_id(tokenizer: Any) -> int | None:
    if tokenizer.unk_token_id is not None:
        return int(tokenizer.unk_token_id)
    # A tokenizer may use a token for unknown words and not declare it.
    model = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    name = getattr(model, "unk_token", None)
    return None if name is None else int(tokenizer.convert_tokens_to_ids(name))


def _plan(pieces: Sequence[tuple[int, ...]]) -> Plan:
    count = len(pieces)
    return Plan(
        question_ids=tuple(f"window {number}" for number in range(count)),
        groups=("",) * count,
        question_texts=("",) * count,
        prompts=tuple(piece[:1] for piece in pieces),
        answers=tuple(piece[1:] for piece in pieces),
        texts=("",) * count,
        question=np.arange(count),
        candidate=np.zeros(count, dtype=np.int64),
        correct=np.ones(count, dtype=np.bool_),
        prompt_format="text",
    )
