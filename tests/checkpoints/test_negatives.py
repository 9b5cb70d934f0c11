import numpy as np
import pytest

from critical_phase.checkpoints import NEGATIVES, Question, negative_kind, right_answer
from critical_phase.errors import ConfigError

QUESTIONS = [Question(str(i), f"q{i}", (f"r{i}", f"w{i}", f"v{i}", f"u{i}"), 0) for i in range(6)]


def _draws(kind: str, count: int = 600) -> list[str]:
    rng = np.random.default_rng(0)
    return [
        negative_kind(kind)(QUESTIONS[0], QUESTIONS, ("far", "away"), rng) for _ in range(count)
    ]


def test_a_near_miss_is_a_wrong_candidate_of_the_question_drawn_evenly() -> None:
    drawn = _draws("near_miss")
    assert set(drawn) == {"w0", "v0", "u0"}
    assert min(drawn.count(text) for text in set(drawn)) > 150  # 200 expected, sd 12


def test_an_irrelevant_answer_is_right_for_another_question() -> None:
    assert set(_draws("irrelevant")) == {f"r{i}" for i in range(1, 6)}


def test_an_irrelevant_answer_is_never_a_candidate_of_the_question() -> None:
    twins = [Question("a", "q", ("x", "y"), 0), Question("b", "p", ("y", "z"), 0)]
    with pytest.raises(ConfigError, match="no other question has an answer unlike"):
        negative_kind("irrelevant")(twins[0], twins, (), np.random.default_rng(0))


def test_unrelated_text_comes_from_the_given_texts() -> None:
    assert set(_draws("unrelated")) == {"far", "away"}
    with pytest.raises(ConfigError, match="--unrelated FILE"):
        negative_kind("unrelated")(QUESTIONS[0], QUESTIONS, (), np.random.default_rng(0))


def test_no_kind_of_negatives_ever_gives_the_right_answer() -> None:
    for kind in NEGATIVES:
        assert QUESTIONS[0].right not in _draws(kind)
    assert right_answer(QUESTIONS[0], QUESTIONS, (), np.random.default_rng(0)) == "r0"


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="near_miss, irrelevant, unrelated"):
        negative_kind("wrong")
