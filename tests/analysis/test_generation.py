"""Free answers counted: strengths chosen on other questions, differences with open intervals."""

import numpy as np
import pytest

from critical_phase.analysis.inference.bootstrap import question_weights
from critical_phase.analysis.inference.paired_share import paired_share
from critical_phase.analysis.interventions.generation import (
    CATEGORIES,
    FreeAnswers,
    choose,
    summarise,
    verdict,
)
from critical_phase.errors import ShapeError


def answers(
    name: str, right: np.ndarray, alpha: float | None = None, draws: int = 1
) -> FreeAnswers:
    mode = name.split("-")[0]
    category = np.where(right, 0, 1)[:, None].repeat(draws, 1)
    tokens = np.full(category.shape, 9)
    return FreeAnswers(name, mode, alpha, category, tokens, category == 1)


def weights(questions: int) -> np.ndarray:
    return question_weights(questions, 400, np.random.default_rng(0))


def test_a_planted_gain_is_found_with_its_size() -> None:
    rng = np.random.default_rng(1)
    base = rng.random(400) < 0.6
    better = base | (rng.random(400) < 0.5)
    found = summarise(
        [answers("base", base), answers("contrast-a1", better, 1.0)],
        draws=400,
        seed=0,
        against=("base",),
    )
    gap = found.differences["contrast"]["base"]
    assert gap.value == pytest.approx(0.2, abs=0.05)
    assert 0.1 < gap.interval[0] < gap.value < gap.interval[1] < 0.3
    assert (gap.lost, gap.questions) == (0, 200)
    assert "contrast-a1 is right more often than base: +0." in verdict(gap, "contrast-a1", "base")


def test_no_difference_is_not_called_one_and_keeps_a_width() -> None:
    base = np.ones(60, dtype=bool)
    found = summarise(
        [answers("base", base), answers("contrast-a1", base, 1.0)],
        draws=100,
        seed=0,
        against=("base",),
    )
    gap = found.differences["contrast"]["base"]
    assert gap.value == 0
    assert gap.interval[0] < -0.02 < 0.02 < gap.interval[1]
    assert "is not shown to differ from" in verdict(gap, "contrast-a1", "base")
    assert found.summaries[0].shares["right"].interval[0] < 0.9


def test_strength_is_chosen_on_even_questions_alone_and_the_weakest_of_equals_is_taken() -> None:
    even = np.arange(40) % 2 == 0
    ways = [
        answers("contrast-a4", even, 4.0),
        answers("contrast-a1", even, 1.0),
        answers("contrast-a2", ~even, 2.0),
    ]
    assert choose(ways, even) == {"contrast": "contrast-a1"}
    found = summarise(ways, draws=100, seed=0, against=())
    assert found.chosen == {"contrast": "contrast-a1"}
    assert found.exploratory_right["contrast-a1"] == 1.0
    right = {one.name: one.shares["right"].value for one in found.summaries}
    assert right == {"contrast-a1": 0.0, "contrast-a4": 0.0, "contrast-a2": 1.0}


def test_shares_sum_to_one_and_each_has_an_interval_around_it() -> None:
    rng = np.random.default_rng(2)
    category = rng.integers(0, len(CATEGORIES), size=(80, 3))
    way = FreeAnswers("base", "base", None, category, category + 5, category == 4)
    (found,) = summarise([way], draws=100, seed=0, against=()).summaries
    assert sum(one.value for one in found.shares.values()) == pytest.approx(1.0)
    for one in (*found.shares.values(), found.limited, found.tokens):
        assert one.interval[0] < one.value < one.interval[1]
    assert (found.draws, found.questions) == (3, 40)


def test_agresti_and_min_is_the_normal_interval_with_a_half_added_to_each_cell() -> None:
    # 36 both right, 12 only the first, 2 only the second, 0 neither
    one = np.repeat([1.0, 1.0, 0.0], [36, 12, 2])
    other = np.repeat([1.0, 0.0, 1.0], [36, 12, 2])
    found = paired_share(one, other, np.full((1, 50), 1 / 50))
    b, c, n = 12.5, 2.5, 52
    middle, spread = (b - c) / n, np.sqrt(b + c - (b - c) ** 2 / n) / n
    assert found.value == pytest.approx(0.2)
    assert found.interval == pytest.approx(
        (middle - 1.959964 * spread, middle + 1.959964 * spread), abs=1e-6
    )


def test_intervals_of_no_difference_cover_it() -> None:
    rng, covered = np.random.default_rng(3), 0
    draw = weights(60)
    for _ in range(300):
        one, other = (rng.random((2, 60)) < 0.9).astype(float)
        low, high = paired_share(one, other, draw).interval
        covered += low <= 0 <= high
    assert covered / 300 > 0.93


def test_what_cannot_be_compared_is_refused() -> None:
    ways = [answers("base", np.ones(4, dtype=bool)), answers("positive", np.ones(6, dtype=bool))]
    with pytest.raises(ShapeError, match="not the same ones"):
        summarise(ways, draws=20, seed=0, against=())
    with pytest.raises(ShapeError, match="1 question"):
        summarise([answers("base", np.ones(1, dtype=bool))], draws=20, seed=0, against=())
    with pytest.raises(ShapeError, match="no question"):
        paired_share(np.ones(0), np.ones(0), np.ones((3, 0)))
