"""Margins and strata of the base, against numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from critical_phase.checkpoints import STRATA, Question, base_margins, select_stratum, strata
from critical_phase.errors import ConfigError

QUESTIONS = [Question(f"q{i}", "what", ("a", "b", "c"), i % 3) for i in range(8)]
BASE = {q.id: (-2.0, -4.0, -3.0 - i) for i, q in enumerate(QUESTIONS)}
MARGINS = [1.0, -2.0, -3.0, 2.0, -2.0, -6.0, 2.0, -2.0]


def test_the_margin_is_right_minus_best_wrong() -> None:
    assert list(base_margins(QUESTIONS, BASE).values()) == MARGINS


def test_quartiles_of_planted_margins_are_found() -> None:
    planted = {
        f"q{i}": float(value) for i, value in enumerate(np.random.default_rng(0).permutation(40))
    }
    for name, stratum in strata(planted).items():
        assert stratum == STRATA[int(planted[name]) // 10]


def test_equal_margins_are_divided_in_the_order_they_come() -> None:
    assert list(strata({str(i): 0.0 for i in range(8)}).values()) == [
        s for s in STRATA for _ in "ab"
    ]


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=40))
def test_strata_have_equal_shares_and_follow_the_margins(values: list[float]) -> None:
    margins = {str(i): value for i, value in enumerate(values)}
    found = strata(margins)
    sizes = [list(found.values()).count(name) for name in STRATA]
    assert max(sizes) - min(sizes) <= 1
    ranks = [(STRATA.index(found[name]), value) for name, value in margins.items()]
    assert all(a[1] <= b[1] for a in ranks for b in ranks if a[0] < b[0])


@given(st.lists(st.integers(-5, 5), min_size=4, max_size=20), st.integers(1, 9))
def test_strata_do_not_change_with_scale_and_shift(values: list[int], scale: int) -> None:
    margins = {str(i): float(value) for i, value in enumerate(values)}
    assert strata({k: 2.0 * scale * v + 7.0 for k, v in margins.items()}) == strata(margins)


def test_the_strata_divide_the_questions_in_their_order() -> None:
    chosen = [select_stratum(QUESTIONS, BASE, name) for name in STRATA]
    assert [[q.id for q in part] for part in chosen] == [
        ["q2", "q5"],
        ["q1", "q4"],
        ["q0", "q7"],
        ["q3", "q6"],
    ]
    assert select_stratum(QUESTIONS, {}, "all") == tuple(QUESTIONS)


def test_an_unknown_stratum_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="all, easy, middle, hard, near_impossible"):
        select_stratum(QUESTIONS, BASE, "eazy")


def test_an_empty_stratum_is_refused() -> None:
    with pytest.raises(ConfigError, match="no question is in the stratum 'easy': 3 questions"):
        select_stratum(QUESTIONS[:3], BASE, "easy")


@pytest.mark.parametrize("scores", [{}, {"q0": (-1.0, -2.0)}])
def test_a_question_without_a_score_per_candidate_is_refused(
    scores: dict[str, tuple[float, ...]],
) -> None:
    with pytest.raises(ConfigError, match=r"question 'q0' has no base margin: .* for 3 candidates"):
        base_margins(QUESTIONS, scores)


def test_a_score_that_is_no_number_has_no_margin() -> None:
    question = Question("q", "Why?", ("a", "b"), 0)
    with pytest.raises(ConfigError, match="no base margin"):
        base_margins([question], {"q": (float("nan"), -1.0)})
