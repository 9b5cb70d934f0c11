"""Say in words how what is stored differs from what is asked for."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

_HASH = re.compile(r"[0-9a-f]{64}")
_LISTED = 8
"""So many entries of a list are shown; of more, only the number."""


def in_words(value: Any) -> str:
    """Write a value of a setting as one would say it: no brackets, quotes or None."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_inner(one)}" for key, one in value.items()) or "nothing"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _listed([_inner(one) for one in value])
    text = str(value)
    return f"{text[:12]}…" if _HASH.fullmatch(text) else text or "nothing"


def apart(one: Any, other: Any) -> tuple[str, str]:
    """Write two values that differ; of two mappings, only the entries that do."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
        one, other = ({key: value.get(key) for key in keys} for value in (one, other))
    words = in_words(one), in_words(other)
    # 1 and "1" read alike, two hashes may begin alike.
    return words if words[0] != words[1] else (repr(one), repr(other))


def _inner(value: Any) -> str:
    return f"({in_words(value)})" if isinstance(value, Mapping) else in_words(value)


def _listed(texts: list[str]) -> str:
    if len(texts) > _LISTED:
        return f"{', '.join(texts[:_LISTED])}, ... ({len(texts)})"
    return " and ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]])) or "nothing"
