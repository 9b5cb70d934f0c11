"""When a free answer is over: an end token, a text that no answer holds, or no room left."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Ending = Literal["end_token", "stop", "limit"]
LINE_END = "\n"
"""Every prompt format writes an answer on one line (checkpoints/prompts.py)."""


@dataclass(frozen=True, slots=True)
class Endings:
    """What ends an answer, for one tokenizer."""

    tokenizer: Any
    tokens: frozenset[int]
    """Tokens that end a text by themselves."""
    texts: tuple[str, ...]
    """Texts that end an answer; it holds what stands before the first of them."""

    def ended(self, answer: Sequence[int]) -> Ending | None:
        """Tell whether the last token of an answer ends it, and how."""
        if answer and answer[-1] in self.tokens:
            return "end_token"
        written = self._decode(answer)
        return "stop" if any(text in written for text in self.texts) else None

    def text(self, answer: Sequence[int]) -> str:
        """Return what an answer says, without what ended it and spaces around it."""
        written = self._decode(answer[:-1] if answer and answer[-1] in self.tokens else answer)
        places = [place for text in self.texts if (place := written.find(text)) >= 0]
        return written[: min(places, default=len(written))].strip()

    def _decode(self, answer: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(answer), clean_up_tokenization_spaces=False))


def endings(model: Any, tokenizer: Any, texts: Iterable[str]) -> Endings:
    """Gather the end tokens that model and tokenizer name, and texts that end an answer."""
    named: list[Any] = [tokenizer.eos_token_id]
    for config in (getattr(model, "generation_config", None), model.config):
        found = getattr(config, "eos_token_id", None)
        named += found if isinstance(found, list | tuple) else [found]
    tokens = frozenset(int(token) for token in named if token is not None)
    return Endings(tokenizer, tokens, tuple(dict.fromkeys(text for text in texts if text)))
