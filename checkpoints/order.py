"""In which order a head sees the training questions."""

import numpy as np

from critical_phase.errors import ConfigError


def data_order(
    count: int,
    needed: int,
    rng: np.random.Generator,
    *,
    size: int | None = None,
    first: int | None = None,
) -> list[int]:
    """Return `needed` question indices: whole shuffled passes, one after another.

    Args:
        count: Number of questions.
        needed: Number of places.
        rng: Source of the shuffles.
        size: Use only the first so many questions of the first pass. Sets of different
            sizes begin alike, and a smaller one is a part of a larger one.
        first: Keep only the first so many places, again and again in the same order:
            more steps without new examples.

    Raises:
        ConfigError: `size` is more than there are questions, or `first` more than there
            are to choose from.
    """
    chosen = _chosen("train_size", size, count)
    repeated = _chosen("repeat_first", first, chosen)
    start = [int(i) for i in rng.permutation(count)[:chosen]]
    if first is not None:
        return [start[place % repeated] for place in range(needed)]
    order = list(start)
    while len(order) < needed:
        order += [start[int(i)] if chosen < count else int(i) for i in rng.permutation(chosen)]
    return order[:needed]


def _chosen(name: str, asked: int | None, there: int) -> int:
    if asked is None:
        return there
    if not 1 <= asked <= there:
        raise ConfigError(
            f"{name} is {asked}, but there are {there} training questions",
            fix=f"give --{name.replace('_', '-')} a number from 1 to {there}",
        )
    return asked
