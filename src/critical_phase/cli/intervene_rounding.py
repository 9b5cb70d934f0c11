"""Numbers as the files of interventions have them."""

from collections.abc import Mapping
from typing import Any

_FLOATS = 7


def rounded(value: Any) -> Any:
    """Round numbers to seven digits, and write null for what is not a number."""
    if isinstance(value, float):
        return (
            float(f"{value:.{_FLOATS}g}") if abs(value) != float("inf") and value == value else None
        )
    if isinstance(value, Mapping):
        return {str(name): rounded(one) for name, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list | tuple) else value
