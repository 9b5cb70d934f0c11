"""Invented words, and how often each is used."""

import numpy as np
from jaxtyping import Int

SPECIAL_WORDS = ("<pad>", "<s>", "<unk>", ".")
"""Words without meaning in the world: fill, begin, unknown, end of statement."""
PAD, BEGIN, UNKNOWN, STOP = range(len(SPECIAL_WORDS))

_ONSETS = ("b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z")
_VOWELS = ("a", "e", "i", "o", "u")


def invent_words(n: int, rng: np.random.Generator) -> list[str]:
    """Invent different pronounceable words of two or three syllables."""
    found: dict[str, None] = {}
    while len(found) < n:
        count = 2 + int(rng.random() < 0.3)
        onsets, vowels = rng.choice(_ONSETS, count), rng.choice(_VOWELS, count)
        found["".join(a + b for a, b in zip(onsets, vowels, strict=True))] = None
    return list(found)


def draw_ranks(
    n: int, exponent: float, shape: tuple[int, ...], rng: np.random.Generator
) -> Int[np.ndarray, "*shape"]:
    """Draw ranks 0 to n - 1 by Zipf's law, the lowest the most frequent."""
    weights = np.arange(1, n + 1, dtype=np.float64) ** -exponent
    return rng.choice(n, size=shape, p=weights / weights.sum())
