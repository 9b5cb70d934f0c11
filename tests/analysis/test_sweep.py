"""Accuracies that a sweep compares, against numbers worked out by hand."""

import numpy as np
import pytest

from critical_phase.analysis.inference.bootstrap import question_weights
from critical_phase.analysis.inputs import Rows
from critical_phase.analysis.many_runs.sweep import (
    accuracy_curve,
    half_rise,
    half_way,
    over_seeds,
    still_rising,
)
from critical_phase.analysis.scores.curves import ModeScores


def three_questions() -> Rows:
    """Three questions of two candidates; the first is right. Answers of 1 and 4 characters."""
    return Rows(
        question=np.repeat(np.arange(3), 2),
        correct=np.array([True, False] * 3),
        characters=np.array([1, 4] * 3),
        tokens=np.ones(6, dtype=np.int64),
        question_ids=("a", "b", "c"),
        groups=("g",) * 3,
        texts=("x", "xxxx") * 3,
        bytes=np.array([1, 4] * 3),
    )


def scores(*steps: list[float]) -> ModeScores:
    return ModeScores("likra", np.arange(len(steps)), np.array(steps))


def rising(steps: np.ndarray, at: float, questions: int = 200) -> np.ndarray:
    """Each question turns right at its own step, spread evenly around `at`."""
    turns = np.linspace(at - 4, at + 4, questions)
    return (steps[:, None] > turns[None, :]).astype(np.float64)


def test_accuracy_and_its_error_over_questions_are_those_worked_out_by_hand() -> None:
    curve = accuracy_curve(three_questions(), scores([-1.0, -2, -1, -2, -3, -2]), "sum")
    assert curve.accuracy[0] == pytest.approx(2 / 3)
    assert curve.standard_error[0] == pytest.approx(np.sqrt(1 / 3) / np.sqrt(3))


def test_per_character_divides_the_combined_score() -> None:
    curve = accuracy_curve(three_questions(), scores([-1.0, -2, -1, -2, -3, -2]), "per_char")
    assert curve.accuracy[0] == 0.0  # -1/1 against -2/4


def test_a_step_without_any_difference_is_undefined_and_a_tie_is_never_right() -> None:
    curve = accuracy_curve(three_questions(), scores([0.0] * 6, [0.0, 0, 1, 0, 0, 1]), "sum")
    assert np.isnan(curve.accuracy[0])
    assert np.isnan(curve.standard_error[0])
    assert curve.undefined.tolist() == [3, 1]
    assert curve.accuracy[1] < 2 / 3


def test_mean_and_error_over_seeds() -> None:
    found = over_seeds(np.array([[0.5, 0.2], [0.7, np.nan]]))
    assert found.mean[0] == pytest.approx(0.6)
    assert found.standard_error[0] == pytest.approx(0.1)
    assert np.isnan(found.mean[1])
    assert found.seeds == 2


def test_one_seed_has_no_error() -> None:
    assert np.isnan(over_seeds(np.array([[0.5]])).standard_error).all()


@pytest.mark.parametrize("at", [12.0, 30.0])
def test_a_planted_half_rise_is_found_inside_its_interval(at: float) -> None:
    steps = np.arange(65)
    weights = question_weights(200, 200, np.random.default_rng(0))
    found = half_rise(steps, rising(steps, at), weights)
    assert found.step == pytest.approx(at, abs=0.6)  # steps are whole numbers
    assert found.low < at < found.high
    assert found.rise == pytest.approx(1.0)


def test_a_flat_or_falling_curve_has_no_half_rise() -> None:
    steps = np.arange(20)
    weights = question_weights(200, 200, np.random.default_rng(0))
    falling = 1 - rising(steps, 10.0)
    for hits in (np.ones((20, 200)), falling):
        assert not half_rise(steps, hits, weights).found


def test_noise_around_chance_has_no_half_rise() -> None:
    rng = np.random.default_rng(1)
    steps, weights = np.arange(20), question_weights(100, 200, rng)
    hits = (rng.random((20, 100)) < 0.25).astype(np.float64)
    assert not half_rise(steps, hits, weights).found


def test_undefined_steps_are_left_out() -> None:
    steps = np.arange(65)
    hits = rising(steps, 20.0)
    weights = question_weights(200, 100, np.random.default_rng(0))
    whole = half_rise(steps, hits, weights)
    hits[0] = np.nan
    assert half_rise(steps, hits, weights).step == whole.step


def test_half_way_lies_between_the_steps_around_it() -> None:
    assert half_way(np.array([0, 8, 16, 64]), np.array([0.2, 0.2, 0.6, 0.6])) == pytest.approx(12.0)


def test_a_line_still_rises_and_a_step_has_ended() -> None:
    steps = np.arange(0, 41)
    assert still_rising(steps, steps / 40)
    assert not still_rising(steps, np.where(steps < 20, 0.2, 0.8))
    assert not still_rising(steps, np.full(41, 0.5))
