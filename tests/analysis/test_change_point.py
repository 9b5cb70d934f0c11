import numpy as np
import pytest

from critical_phase.analysis.change_point import AbruptTest
from critical_phase.analysis.location import change_kind, locate
from critical_phase.analysis.multiplicity import adjust, max_t

STEPS = 33
TIME = np.arange(STEPS, dtype=float)
UNIT = TIME / (STEPS - 1)
SMOOTH = {
    "ramp": UNIT,
    "saturating": 1 - np.exp(-UNIT / 0.15),
    "fast saturating": 1 - np.exp(-UNIT / 0.03),
    "flat": 0 * UNIT,
    "slow sigmoid": 1 / (1 + np.exp(-(UNIT - 0.5) * 4.394 / 0.6)),
    "square": UNIT**2,
}
ABRUPT = {
    "step": (UNIT > 0.45).astype(float),
    "sigmoid": 1 / (1 + np.exp(-(UNIT - 0.45) * 4.394 / 0.1)),
    "sigmoid on a ramp": UNIT / 2 + 1 / (1 + np.exp(-(UNIT - 0.45) * 4.394 / 0.1)),
}


@pytest.fixture(scope="module")
def test():
    return AbruptTest(TIME, 200, np.random.default_rng(1))


def rate(test, course, noise, draws=200):
    rng = np.random.default_rng(2)
    return np.mean([test.run(course + noise(rng)).found for _ in range(draws)])


def white(rng):
    return rng.normal(0, 0.01, STEPS)


def walk(rng):
    return np.cumsum(rng.normal(0, 0.05, STEPS))


@pytest.mark.parametrize("kind", SMOOTH)
def test_smooth_curves_are_rarely_called_abrupt(kind, test):
    assert rate(test, SMOOTH[kind], white) <= 0.05


@pytest.mark.parametrize("kind", ["flat", "ramp"])
def test_random_walks_are_rarely_called_abrupt(kind, test):
    assert rate(test, SMOOTH[kind], walk) <= 0.05


@pytest.mark.parametrize("kind", ABRUPT)
@pytest.mark.parametrize("noise", [white, walk])
def test_planted_changes_are_found(kind, noise, test):
    assert rate(test, ABRUPT[kind], noise, 60) >= 0.9


@pytest.mark.parametrize("course", ["ramp", "saturating", "flat"])
def test_question_noise_makes_no_jump_of_accuracy(course, test):
    rng, alarms = np.random.default_rng(3), 0
    for _ in range(100):
        noise = np.cumsum(rng.normal(0, 0.02, (STEPS, 300)), axis=0)
        hits = (rng.normal(-0.5, 0.5, 300) + SMOOTH[course][:, None] + noise > 0).astype(float)
        alarms += test.run(hits.mean(axis=1), hits).found
    assert alarms <= 5


def test_log_spaced_checkpoints_keep_the_rates():
    time = np.concatenate(([0], 2.0 ** np.arange(0, 11, 0.5)))
    time = np.unique(np.round(time))
    test, rng, unit = AbruptTest(time, 200, np.random.default_rng(1)), np.random.default_rng(2), 0
    index = np.linspace(0, 1, time.size)
    for course in (index, np.log1p(time) / 7, time / time[-1], 1 - np.exp(-time / 50)):
        unit += sum(test.run(course + rng.normal(0, 0.01, time.size)).found for _ in range(50))
    assert unit <= 10
    jump = (index > 0.5) + rng.normal(0, 0.01, time.size)
    assert test.run(jump).found


def test_a_constant_curve_has_nothing_to_find(test):
    assert test.run(np.ones(STEPS)).p == 1


@pytest.mark.parametrize("width", [2.0, 6.0, 15.0])
@pytest.mark.parametrize("tau", [11.0, 16.5])
def test_place_width_and_size_are_recovered(tau, width):
    curve = 0.4 + 0.5 / (1 + np.exp(-(TIME - tau) * 4.394 / width))
    found = locate(TIME, curve[None])
    assert found.tau[0] == pytest.approx(tau, abs=0.3)
    assert found.width[0] == pytest.approx(width, rel=0.25, abs=0.5)
    assert found.after[0] - found.before[0] == pytest.approx(curve[-1] - curve[0], abs=0.02)


def test_a_step_is_placed_between_its_checkpoints():
    found = locate(TIME, (TIME >= 13).astype(float)[None])
    assert 12 <= found.tau[0] <= 13


def test_the_scale_and_level_of_a_curve_do_not_move_its_change(rng):
    curve = ABRUPT["sigmoid"] + white(rng)
    one, two = locate(TIME, curve[None]), locate(TIME, 7 - 3 * curve[None])
    assert one.tau[0] == pytest.approx(two.tau[0], abs=1e-3)


def test_kinds_by_width():
    assert change_kind(1.0, TIME) == "step"
    assert change_kind(20.0, TIME) == "ramp"


def test_benjamini_hochberg_vector():
    np.testing.assert_allclose(adjust([0.01, 0.02, 0.03, 0.5]), [0.04, 0.04, 0.04, 0.5])
    assert adjust([]).size == 0


def test_max_t_is_never_below_the_single_test(rng):
    null, seen = rng.normal(size=(99, 20)), np.full(20, 2.0)
    single = (1 + (null >= 2).sum(axis=0)) / 100
    assert np.all(max_t(seen, null) >= single)
