"""The smallest set that is still enough, by halving: delta debugging.

Reference: Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE TSE
28(2), 2002, algorithm ddmin.
"""

from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise
from typing import TypeVar

Item = TypeVar("Item", bound=Hashable)


def smallest(items: Sequence[Item], enough: Callable[[tuple[Item, ...]], bool]) -> tuple[Item, ...]:
    """Find a subset of which no single item can be left out.

    Halves are tried first, then quarters and so on, so a small set among n items takes about
    log n questions. The result is minimal, which is not always the smallest of all: where
    several sets are enough, which one is found depends on the order.

    Args:
        items: In an order in which neighbours belong together.
        enough: Tells whether a subset is enough; asked at most once about each. All items
            together are taken to be, without asking.

    Returns:
        The subset, in the order given.
    """
    known: dict[tuple[Item, ...], bool] = {(): False, tuple(items): True}

    def ask(subset: tuple[Item, ...]) -> bool:
        if subset not in known:
            known[subset] = enough(subset)
        return known[subset]

    left, parts = tuple(items), 2
    while len(left) > 1:
        pieces = _pieces(left, parts)
        rests = [tuple(x for x in left if x not in set(piece)) for piece in pieces]
        found = next((piece for piece in pieces if ask(piece)), None)
        if found is not None:
            left, parts = found, 2
            continue
        found = next((rest for rest in rests if ask(rest)), None)
        if found is not None:
            left, parts = found, max(parts - 1, 2)
        elif parts < len(left):
            parts = min(len(left), 2 * parts)
        else:
            break
    return left


def _pieces(items: tuple[Item, ...], parts: int) -> list[tuple[Item, ...]]:
    """Cut a tuple into neighbouring pieces of nearly equal length."""
    cuts = [len(items) * i // parts for i in range(parts + 1)]
    return [items[a:b] for a, b in pairwise(cuts) if a < b]
