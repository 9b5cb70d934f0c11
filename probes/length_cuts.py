"""Where to cut lines, sorted by length, into batches: padding against one more pass."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch

_MOST_PASS = 8
"""One more pass costs at most a batch divided by this; on accelerators it is taken as that."""
_CPU_PASS = 5e5
"""On a CPU one more pass costs this over the square of the model's width, in slots: both its
fixed time and that of a slot grow with the layers, the latter with the width squared too."""
_LEAST_PASS = 12
"""Slots that a pass costs however wide the model is: small batches multiply less quickly."""
_INSTRUMENTS = 6
"""So many times more where collectors read every block of a pass."""


def cut_by_length(widths: Sequence[int], batch_tokens: int, pass_cost: int) -> list[int]:
    """Cut ascending widths into batches of the least cost, each of at most `batch_tokens` slots.

    Args:
        widths: Slots of each line, ascending; lines of one width stay together while they fit.
        batch_tokens: Most slots of a batch of more than one line.
        pass_cost: What one more batch costs, in slots; padding costs its slots.

    Returns:
        The first line of every batch, and the number of lines.
    """
    starts = [i for i, width in enumerate(widths) if i == 0 or widths[i - 1] != width]
    starts.append(len(widths))
    tokens = [0, *accumulate(widths)]
    best: list[tuple[int, int]] = [(0, 0)]  # cost of all lines before a start, and the cut before
    for end in range(1, len(starts)):
        width = widths[starts[end] - 1]
        room = max(1, batch_tokens // width)
        options = []
        for begin in reversed(range(end)):
            lines = starts[end] - starts[begin]
            slots = lines * width
            options.append((best[begin][0] + slots + -(-lines // room) * pass_cost, begin))
            if slots - (tokens[starts[end]] - tokens[starts[begin]]) > batch_tokens:
                break  # wider spans only pad more
        best.append(min(options))
    cuts, end = [len(widths)], len(starts) - 1
    while end:
        begin = best[end][1]
        room = max(1, batch_tokens // widths[starts[end] - 1])
        first, stop = starts[begin], starts[end]
        parts = -(-(stop - first) // room)
        cuts += [first + (stop - first) * part // parts for part in reversed(range(parts))]
        end = begin
    return cuts[::-1]


def cost_of_pass(config: Any, device: torch.device, batch_tokens: int, *, lean: bool) -> int:
    """Say how many slots one more pass through the model costs.

    Args:
        config: Of the language model.
        device: Of the model.
        batch_tokens: Most slots of a batch.
        lean: Whether nothing but scores is read.
    """
    most = batch_tokens // _MOST_PASS
    if device.type != "cpu":
        return most
    instruments = 1 if lean else _INSTRUMENTS
    return min(most, _LEAST_PASS + int(instruments * _CPU_PASS / config.hidden_size**2))
