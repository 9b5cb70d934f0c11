"""Differences are said in words, not as Python writes its values."""

from typing import Any

import pytest

from critical_phase.differences import apart, in_words

WORDS = {
    "nothing set": (None, "not set"),
    "an empty list": ([], "nothing"),
    "an empty text": ("", "nothing"),
    "one entry": (["residual"], "residual"),
    "three entries": (("a", "b", "c"), "a, b and c"),
    "a long list": (range(20), "0, 1, 2, 3, 4, 5, 6, 7, ... (20)"),
    "a switch": (True, "yes"),
    "a number": (5e-05, "5e-05"),
    "settings": ({"lr": 0.1, "lora": {"use_dora": False}}, "lr 0.1, lora (use_dora no)"),
    "a hash": ("0123456789abcdef" * 4, "0123456789ab…"),
}


@pytest.mark.parametrize("case", WORDS)
def test_a_value_is_said_in_words(case: str) -> None:
    value, words = WORDS[case]
    assert in_words(value) == words


def test_of_settings_only_what_differs_is_said() -> None:
    one = {"lr": 0.1, "steps": 12, "seed": 0}
    assert apart(one, {"lr": 0.5, "steps": 12}) == ("lr 0.1, seed 0", "lr 0.5, seed not set")


@pytest.mark.parametrize(
    ("one", "other"), [(1, "1"), (None, "not set"), ("a" * 64, "a" * 63 + "b")]
)
def test_values_that_differ_never_read_alike(one: Any, other: Any) -> None:
    words = apart(one, other)
    assert words[0] != words[1]
