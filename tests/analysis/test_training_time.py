"""Does the jump move where something was withheld? Planted delays, losses and chances."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from critical_phase.analysis import Rows
from critical_phase.analysis.interventions.training_time import Asked, training_test
from critical_phase.analysis.interventions.training_time_place import (
    Place,
    crossings,
    later_than,
    place_of,
)
from critical_phase.errors import FitError

QUESTIONS = 120
STEPS = np.arange(0, 42, 2)
ASKED = Asked("likra", 1.0, 4, 28, 4.0, 8, draws=200)


def make_rows(questions: int = QUESTIONS) -> Rows:
    count = questions * 2
    return Rows(
        question=np.repeat(np.arange(questions), 2),
        correct=np.tile([True, False], questions),
        characters=np.full(count, 4),
        tokens=np.full(count, 2),
        question_ids=tuple(f"q{i}" for i in range(questions)),
        groups=("",) * questions,
        texts=("text",) * count,
        bytes=np.full(count, 4),
    )


@dataclass(frozen=True)
class Training:
    """Margins that rise at `tau` from below zero to above it, plus wander of its own."""

    tau: float
    height: float = 4.0
    seed: int = 1
    until: int = 8
    """Up to this step it is the run itself."""
    own: float = 16.0
    questions: int = QUESTIONS
    heads: tuple[str, ...] = ("positive", "negative")

    @property
    def rows(self) -> Rows:
        return make_rows(self.questions)

    def steps(self, head: str) -> np.ndarray:
        return STEPS

    def base_scores(self) -> np.ndarray:
        return np.zeros(2 * self.questions)

    def scores(self, head: str) -> np.ndarray:
        right = np.tile([1.0, 0.0], self.questions)
        if head == "positive":
            return np.tile(np.random.default_rng(7).normal(0, 0.1, right.size), (STEPS.size, 1))
        spread = np.repeat(np.random.default_rng(0).normal(0.0, 1.0, self.questions), 2)
        noise = np.random.default_rng([1, 2]).normal(0, 0.05, (STEPS.size, right.size))
        late = self.until < STEPS
        noise[late] = np.random.default_rng([self.seed, 2]).normal(0, 0.05, noise[late].shape)
        tau = np.where(late, self.tau, self.own)
        height = np.where(late, self.height, 4.0)
        rise = (height / (1 + np.exp(-(STEPS - tau)))) - 1.5
        margin = rise[:, None] + spread
        return -(margin * right) + noise


RUN = Training(16.0)


@pytest.mark.parametrize(("delay", "kind"), [(12.0, "later"), (-5.0, "earlier"), (0.0, "stays")])
def test_a_planted_delay_is_found(delay: float, kind: str) -> None:
    test = replace(RUN, tau=16.0 + delay, seed=3)
    found = training_test(RUN, test, {"other": replace(RUN, seed=4)}, replace(ASKED, width=2.0))
    low, high = found.test.later.interval
    assert low <= delay <= high
    assert found.test.later.value == pytest.approx(delay, abs=1.0)
    if kind == "earlier":
        assert found.test.kind in ("earlier", "stays")
    else:
        assert found.test.kind == kind
    assert found.controls[0].kind == "stays"
    assert found.met is (kind == "later")
    assert found.test.apart_before == found.controls[0].apart_before == 0.0
    assert found.questions == QUESTIONS // 2


def test_a_jump_that_never_comes_vanishes() -> None:
    found = training_test(RUN, replace(RUN, tau=400.0), {"c": replace(RUN, seed=4)}, ASKED)
    assert found.test.kind == "vanishes"
    assert found.met is True
    assert np.isinf(found.test.later.value)
    assert found.test.lost_last.value == pytest.approx(1.0, abs=0.05)
    assert found.controls[0].lost_last.value == pytest.approx(0.0, abs=0.05)
    assert found.test.gain_change.interval[1] < -0.3


def test_a_jump_that_is_lower_at_the_same_place_stays_and_loses_its_share() -> None:
    found = training_test(RUN, replace(RUN, height=3.0, seed=3), {"c": replace(RUN, seed=4)}, ASKED)
    low, high = found.test.lost.interval
    assert low < 0.25 < high
    assert high - low < 0.1
    assert found.met is not True


def test_without_a_control_or_with_one_that_does_the_same_nothing_is_claimed() -> None:
    test = replace(RUN, tau=28.0, seed=3)
    alone = training_test(RUN, test, {}, ASKED)
    assert (alone.met, alone.why) == (None, "no control was trained")
    same = training_test(RUN, test, {"c": replace(RUN, tau=28.0, seed=5)}, ASKED)
    assert same.met is False
    assert "c does the same" in same.why
    two = {"a": replace(RUN, seed=4), "b": replace(RUN, tau=28.0, seed=5)}
    assert training_test(RUN, test, two, ASKED).met is False


def test_equal_trainings_are_never_told_apart() -> None:
    """The control of the whole: noise of its own alone moves no jump."""
    for seed in range(10, 30):
        arms = [replace(RUN, seed=seed), replace(RUN, seed=seed + 50)]
        found = training_test(RUN, arms[0], {"c": arms[1]}, ASKED)
        assert found.met is False
        assert found.test.later.interval[0] <= 0 <= found.test.later.interval[1]


def test_what_differs_before_the_window_is_said() -> None:
    test = replace(RUN, tau=28.0, seed=3, until=2)
    assert training_test(RUN, test, {}, ASKED).test.apart_before > 0.01


def test_questions_that_may_have_chosen_decide_nothing() -> None:
    """Only questions with odd numbers are read."""

    @dataclass(frozen=True)
    class Half(Training):
        def scores(self, head: str) -> np.ndarray:
            values = super().scores(head)
            even = np.repeat(np.arange(self.questions) % 2 == 0, 2)
            return np.where(even, values[:1], values)

    kwargs = {"tau": 28.0, "seed": 3}
    plain = training_test(RUN, Training(**kwargs), {}, ASKED)  # type: ignore[arg-type]
    half = training_test(RUN, Half(**kwargs), {}, ASKED)  # type: ignore[arg-type]
    assert half.test.later.value == plain.test.later.value
    assert half.test.lost == plain.test.lost


def test_a_curve_crosses_where_a_cut_parts_it_best() -> None:
    steps, one = np.arange(0, 10), np.ones(1)
    curve = np.array([0.6, 0.2, 0.1, 0.2, 0.3, 0.7, 0.8, 0.4, 0.9, 0.9])
    level = crossings(steps, curve[None], 0.0 * one, one)
    assert level == pytest.approx(4.5)
    assert crossings(steps, 1 - curve[None], one, 0.0 * one) == pytest.approx(4.5)
    assert crossings(steps, curve[None] * 0.3, 0.0 * one, one)[0] == np.inf
    assert crossings(steps, curve[None] + 1.0, 0.0 * one, one)[0] == 0.0
    shifted = np.concatenate([np.full(2, 0.1), curve[1:-1]])
    assert crossings(steps, shifted[None], 0.0 * one, one) == pytest.approx(5.5)


def test_places_that_are_not_reached_are_later_than_all_that_are() -> None:
    steps, one = np.arange(0, 10), np.ones(101)
    rising = np.tile((steps > 4.5).astype(float), (101, 1))
    reached = place_of(steps, rising, 0.0 * one, one)
    never = place_of(steps, 0.0 * rising, 0.0 * one, one)
    assert isinstance(reached, Place)
    assert later_than(never, reached, steps).interval[0] == np.inf
    assert later_than(reached, never, steps).interval[1] == -np.inf
    assert later_than(never, never, steps).value == 0.0
    assert later_than(reached, reached, steps).interval == (-1.0, 1.0)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(FitError, match="no jump that could move"):
        training_test(RUN, RUN, {}, replace(ASKED, early=30, late=34))
    with pytest.raises(FitError, match="step 29 is not among"):
        training_test(RUN, RUN, {}, replace(ASKED, late=29))
    with pytest.raises(FitError, match="other questions"):
        training_test(RUN, replace(RUN, questions=60), {}, ASKED)
    few = replace(RUN, questions=8)
    with pytest.raises(FitError, match="too few"):
        training_test(few, few, {}, ASKED)
