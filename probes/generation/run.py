"""Answer every prompt of a question set under one rule, in batches that fit the memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from critical_phase.probes.generation.answer import Answer, Asked, Decoding
from critical_phase.probes.generation.decode import decode
from critical_phase.probes.generation.endings import Endings
from critical_phase.probes.generation.gates import prove_padding
from critical_phase.probes.generation.layout import batches
from critical_phase.probes.generation.lines import Lines

Layout = Literal["cached", "single"]


@dataclass(frozen=True, slots=True)
class Generated:
    """Answers in the order of the prompts, and how they were computed."""

    answers: tuple[Answer, ...]
    layout: Layout
    """`cached`: padded batches that keep keys and values. `single`: every token from the whole
    text of one prompt, where the model cannot do the other."""
    layout_reason: str
    """Why, in one sentence."""
    cuts: int
    """How often a batch was halved because it did not fit the memory."""


def generate(
    lines: Lines,
    asked: Sequence[Asked],
    decoding: Decoding,
    ends: Endings,
    *,
    slots: int = 4096,
    layout: Layout | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Generated:
    """Answer every prompt.

    Args:
        lines: The models that are decoded from.
        asked: Prompts, in any order of lengths.
        decoding: How tokens are chosen.
        ends: When an answer is over.
        slots: Most tokens of a batch in all its models, padding included.
        layout: None takes `cached` where the gate proves it.
        progress: Called with the number of answers done.
    """
    with lines.attached():
        reason = f"{layout} was asked for"
        if layout is None:
            proved, reason = prove_padding(lines, asked)
            layout = "cached" if proved else "single"
        lengths = [len(one.prompt) for one in asked]
        queue = batches(lengths, models=len(lines.names), new=decoding.new_tokens, slots=slots)
        queue.reverse()
        found: dict[int, Answer] = {}
        cuts = 0
        while queue:
            batch = queue.pop()
            try:
                part = [asked[place] for place in batch]
                made = decode(lines, part, decoding, ends, cached=layout == "cached")
            except (MemoryError, torch.OutOfMemoryError):
                if len(batch) == 1:
                    raise
                half = len(batch) // 2
                queue += [batch[half:], batch[:half]]
                cuts += 1
                continue
            found.update(zip(batch, made, strict=True))
            progress(len(found))
    answers = tuple(found[place] for place in range(len(asked)))
    return Generated(answers, layout, reason, cuts)
