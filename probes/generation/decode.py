"""Write answers token by token, for many prompts at once, from one or three models."""

from collections.abc import Generator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from critical_phase.probes.generation.answer import Answer, Asked, Decoding
from critical_phase.probes.generation.contrast import combine, log_probs
from critical_phase.probes.generation.endings import Ending, Endings
from critical_phase.probes.generation.layout import accepted, pad_left
from critical_phase.probes.generation.lines import Lines
from critical_phase.probes.stem import new_cache

CHOSEN = "chosen"
Steps = Generator[dict[str, Tensor], Tensor, None]
"""Gives logits of the next token by model, and is sent the token that was taken."""


@torch.no_grad()
def decode(
    lines: Lines, asked: Sequence[Asked], decoding: Decoding, ends: Endings, *, cached: bool = True
) -> list[Answer]:
    """Answer a batch of prompts.

    Args:
        lines: The models, their updates attached.
        asked: Prompts; they may differ in length.
        decoding: How tokens are chosen.
        ends: When an answer is over.
        cached: False computes every token from the whole text, which is slow and needs nothing
            of a model but its forward pass.
    """
    steps = from_cache(lines, asked) if cached else anew(lines, asked)
    writers = [_Writer(one, decoding, ends) for one in asked]
    next(steps)
    tokens = torch.empty(0, dtype=torch.long)
    for _ in range(decoding.new_tokens):
        found = steps.send(tokens)
        tokens = _choose(found, writers, decoding)
        if all(writer.ended for writer in writers):
            break
    return [writer.answer for writer in writers]


def _choose(found: dict[str, Tensor], writers: "list[_Writer]", decoding: Decoding) -> Tensor:
    """Take the next token of every line; one that is over goes on, unread."""
    logs = {name: log_probs(logits) for name, logits in found.items()}
    chosen = next(iter(logs.values()))
    if decoding.contrast is not None:
        chosen = combine(logs, decoding.contrast)
    logs[CHOSEN] = chosen
    if decoding.temperature is None:
        tokens = chosen.argmax(-1).cpu()
    else:
        tokens = _draw(chosen, writers, decoding.temperature)
    taken = {
        name: values.gather(-1, tokens.to(values.device)[:, None])[:, 0].double().cpu()
        for name, values in logs.items()
    }
    for line, writer in enumerate(writers):
        writer.write(int(tokens[line]), {name: float(one[line]) for name, one in taken.items()})
    return tokens


def _draw(
    chosen: Float[Tensor, "line vocabulary"], writers: "list[_Writer]", temperature: float
) -> Tensor:
    """Draw by the inverse of the summed probabilities: one number of its own for each line."""
    share = (chosen.double() / temperature).softmax(-1).cumsum(-1).cpu()
    places = torch.tensor([writer.rng.random() for writer in writers], dtype=torch.float64)
    tokens = torch.searchsorted(share, (places * share[:, -1])[:, None], right=True)[:, 0]
    return tokens.clamp(max=share.shape[1] - 1)


def from_cache(lines: Lines, asked: Sequence[Asked]) -> Steps:
    """Give logits after the prompts, then after every token that is sent."""
    model, padded = lines.model, pad_left([one.prompt for one in asked], lines.model.device)
    ids, mask = lines.repeated(padded.ids), lines.repeated(padded.mask)
    positions, cache = lines.repeated(padded.positions), new_cache(model, windowed=True)
    tokens = yield {}
    while True:
        inputs = accepted(model, position_ids=positions, logits_to_keep=1)
        found = model(
            input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **inputs
        )
        tokens = yield lines.split(found.logits[:, -1])
        ids = lines.repeated(tokens.to(ids.device)[:, None])
        mask = torch.cat([mask, mask.new_ones((len(mask), 1))], dim=1)
        positions = positions[:, -1:] + 1


def anew(lines: Lines, asked: Sequence[Asked]) -> Steps:
    """Give the same without a cache and without padding, each prompt by itself."""
    texts = [list(one.prompt) for one in asked]
    tokens = yield {}
    while True:
        rows = []
        for text in texts:
            ids = lines.repeated(torch.tensor([text], device=lines.model.device))
            logits = lines.model(input_ids=ids, use_cache=False).logits[:, -1]
            rows.append(lines.split(logits))
        tokens = yield {name: torch.cat([row[name] for row in rows]) for name in lines.names}
        for text, token in zip(texts, tokens.tolist(), strict=True):
            text.append(token)


class _Writer:
    """One answer while it is written."""

    def __init__(self, asked: Asked, decoding: Decoding, ends: Endings) -> None:
        self.rng: np.random.Generator = asked.rng(decoding.seed)
        self.ended: Ending | None = None
        self._ends, self._most = ends, decoding.new_tokens
        self._ids: list[int] = []
        self._logprob: dict[str, float] = {}

    def write(self, token: int, logprob: dict[str, float]) -> None:
        """Take a token, unless the answer is over."""
        if self.ended is not None:
            return
        self._ids.append(token)
        for name, value in logprob.items():
            self._logprob[name] = self._logprob.get(name, 0.0) + value
        self.ended = self._ends.ended(self._ids)
        if self.ended is None and len(self._ids) == self._most:
            self.ended = "limit"

    @property
    def answer(self) -> Answer:
        """The finished answer."""
        assert self.ended is not None
        text = self._ends.text(self._ids)
        return Answer(tuple(self._ids), text, self.ended, self._logprob)
