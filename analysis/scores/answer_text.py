"""Controls made of the answer's text alone: surface features, and labels hashed from strings."""

import hashlib
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inputs import Rows
from critical_phase.analysis.probing.question_blocks import Group

WORDS = 32
"""Bins of the bag of words."""

HASHES = 5
"""Control labellings; their top-1 is averaged."""


def surface_features(rows: Rows) -> Float[np.ndarray, "row feature"]:
    """Return what shows without a model: length, tokens and hashed words of the candidate."""
    words = np.zeros((rows.question.size, WORDS))
    for at, text in enumerate(rows.texts):
        for word in text.lower().split():
            words[at, zlib.crc32(word.encode()) % WORDS] += 1
    plain = np.stack([rows.characters, rows.tokens, rows.characters**2], axis=1)
    table = np.concatenate([plain.astype(np.float64), words], axis=1)
    spread = table.std(axis=0)
    return np.asarray(table / np.where(spread > 0, spread, 1.0))


def hash_choices(rows: Rows, groups: Sequence[Group]) -> list[Int[np.ndarray, "_q label"]]:
    """Mark the candidate whose text hashes highest: a label fixed per string.

    A probe can learn such labels only by remembering strings that come back in other
    questions (control task of 1909.03368). Equal strings within a question: the first.
    """
    tables: list[list[bytes]] = []
    for salt in range(HASHES):
        key = str(salt).encode()
        tables.append(
            [hashlib.blake2b(t.encode(), digest_size=6, salt=key).digest() for t in rows.texts]
        )
    codes = [[int.from_bytes(code, "big") for code in column] for column in tables]
    table = np.array(codes, dtype=np.int64).T
    return [np.argmax(table[one.index], axis=1) for one in groups]


def repeated_share(rows: Rows) -> float:
    """Return the share of candidates whose text appears in another question too."""
    asked: dict[str, set[int]] = {}
    for question, text in zip(rows.question.tolist(), rows.texts, strict=True):
        asked.setdefault(text, set()).add(question)
    again = Counter(len(asked[text]) > 1 for text in rows.texts)
    return again[True] / len(rows.texts)
