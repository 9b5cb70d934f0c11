"""Neutral texts are cut into windows that together predict every token once."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from tiny_effects import TEXTS

from critical_phase.errors import ConfigError
from critical_phase.probes import encode_texts


def test_long_texts_go_on_in_the_next_window_and_nothing_is_dropped(tokenizer: Any) -> None:
    whole, cut = (encode_texts(TEXTS, tokenizer, window=w) for w in (500, 8))
    assert whole.windows.tolist() == [1, 1, 1]
    assert cut.windows.tolist() == [-(-len(text) // 7) for text in TEXTS]
    np.testing.assert_array_equal(whole.tokens, cut.tokens)
    assert max(map(len, cut.plan.answers)) == 7
    for text in range(len(TEXTS)):
        rows = np.flatnonzero(cut.owner == text).tolist()
        predicted = tuple(token for row in rows for token in cut.plan.answers[row])
        assert predicted == whole.plan.answers[text]
        for row, after in pairwise(rows):
            assert cut.plan.prompts[after] == cut.plan.answers[row][-1:]
    assert whole.sha256 != cut.sha256


def test_a_text_s_mean_weights_its_windows_by_tokens(tokenizer: Any) -> None:
    texts = encode_texts(("abcdefghij",), tokenizer, window=8)  # 7 and 3 predicted tokens
    assert texts.mean(np.array([1.0, 2.0])).tolist() == pytest.approx([1.3])


@pytest.mark.parametrize(
    ("texts", "window", "problem"),
    [
        ((), 8, "there is no neutral text"),
        (("fine", ""), 8, r"text 2 \(''\) has no token"),
        (("fine",), 1, "a window of 1 tokens predicts nothing"),
    ],
)
def test_texts_that_predict_nothing_are_refused(
    texts: tuple[str, ...], window: int, problem: str, tokenizer: Any
) -> None:
    with pytest.raises(ConfigError, match=problem):
        encode_texts(texts, tokenizer, window=window)
