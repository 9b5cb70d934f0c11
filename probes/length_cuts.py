"""Where to cut lines, sorted by length, into batches: padding against one more pass."""

from collections.abc import Sequence
from itertools import accumulate


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
