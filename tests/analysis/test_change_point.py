import numpy as np
import pytest

from critical_phase.analysis.inference.bootstrap import shared_weights
from critical_phase.analysis.inference.multiplicity import adjust, max_t
from critical_phase.analysis.jumps.change_point import Abruptness, AbruptTest
from critical_phase.analysis.jumps.changes import rank, resolve
from critical_phase.analysis.jumps.location import change_kind, locate
from critical_phase.analysis.jumps.noise_model import crossed
from critical_phase.analysis.jumps.ranked_change import AT_LIMIT
from critical_phase.analysis.jumps.series_change import ChangeFinder
from critical_phase.analysis.series import Series, question_series
from critical_phase.analysis.settings import AnalysisSettings

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
RISE_AND_FALL = {
    "rise, then fall": np.minimum(UNIT / 0.3, 1 - (UNIT - 0.3) / 0.7),
    "pulse": UNIT / 0.2 * np.exp(1 - UNIT / 0.2),
    "late hinge": np.maximum(0, (UNIT - 0.7) / 0.3),
    "bump, sd .17": np.exp(-0.5 * ((UNIT - 0.45) / 0.17) ** 2),
    "bump, sd .25": np.exp(-0.5 * ((UNIT - 0.45) / 0.25) ** 2),
}
QUESTIONS = 100


def alone(value, quantity="lora_step.x"):
    return Series(quantity, "", "", "weights", np.arange(value.size), value)


def asked(course, rng, spread=0.15):
    own = rng.normal(0, 1.5, QUESTIONS) + rng.normal(0, spread, (course.size, QUESTIONS))
    return question_series(
        "margin.x", "", "", "margin", np.arange(course.size), course[:, None] + own
    )


@pytest.fixture
def finder():
    settings = AnalysisSettings(draws=200, smooth_draws=200)
    return ChangeFinder(shared_weights(QUESTIONS, settings), settings)


@pytest.fixture(scope="module")
def abrupt():
    return AbruptTest(TIME, 200, np.random.default_rng(1))


def rate(abrupt, course, noise, draws=200):
    rng = np.random.default_rng(2)
    return np.mean([abrupt.run(course + noise(rng)).found for _ in range(draws)])


def white(rng):
    return rng.normal(0, 0.01, STEPS)


def walk(rng):
    return np.cumsum(rng.normal(0, 0.05, STEPS))


@pytest.mark.parametrize("kind", SMOOTH)
def test_smooth_curves_are_rarely_called_abrupt(kind, abrupt):
    assert rate(abrupt, SMOOTH[kind], white) <= 0.05


@pytest.mark.parametrize("kind", RISE_AND_FALL)
def test_curves_that_slowly_rise_and_fall_are_rarely_called_abrupt(kind, abrupt):
    def wander(rng):
        return np.cumsum(rng.normal(0, 0.01, STEPS))

    assert rate(abrupt, RISE_AND_FALL[kind], wander, 100) <= 0.05


@pytest.mark.parametrize("kind", ["flat", "ramp"])
def test_random_walks_are_rarely_called_abrupt(kind, abrupt):
    assert rate(abrupt, SMOOTH[kind], walk) <= 0.05


@pytest.mark.parametrize("kind", ABRUPT)
@pytest.mark.parametrize("noise", [white, walk])
def test_planted_changes_are_found(kind, noise, abrupt):
    assert rate(abrupt, ABRUPT[kind], noise, 60) >= 0.9


@pytest.mark.parametrize("course", ["ramp", "saturating", "flat"])
def test_question_noise_makes_no_jump_of_accuracy(course, abrupt):
    rng, alarms = np.random.default_rng(3), 0
    for _ in range(100):
        noise = np.cumsum(rng.normal(0, 0.02, (STEPS, 300)), axis=0)
        hits = (rng.normal(-0.5, 0.5, 300) + SMOOTH[course][:, None] + noise > 0).astype(float)
        alarms += abrupt.run(hits.mean(axis=1), hits).found
    assert alarms <= 5


def test_log_spaced_checkpoints_keep_the_rates():
    time = np.concatenate(([0], 2.0 ** np.arange(0, 11, 0.5)))
    time = np.unique(np.round(time))
    abrupt, rng, unit = AbruptTest(time, 200, np.random.default_rng(1)), np.random.default_rng(2), 0
    index = np.linspace(0, 1, time.size)
    for course in (index, np.log1p(time) / 7, time / time[-1], 1 - np.exp(-time / 50)):
        unit += sum(abrupt.run(course + rng.normal(0, 0.01, time.size)).found for _ in range(50))
    assert unit <= 10
    jump = (index > 0.5) + rng.normal(0, 0.01, time.size)
    assert abrupt.run(jump).found


def test_a_constant_curve_has_nothing_to_find(abrupt):
    assert abrupt.run(np.ones(STEPS)).p == 1


@pytest.mark.parametrize("width", [2.0, 6.0, 15.0])
@pytest.mark.parametrize("tau", [11.0, 16.5])
def test_place_width_and_size_are_recovered(tau, width):
    curve = 0.4 + 0.5 / (1 + np.exp(-(TIME - tau) * 4.394 / width))
    found = locate(TIME, curve[None])
    assert found.tau[0] == pytest.approx(tau, abs=0.3)
    assert found.width[0] == pytest.approx(width, rel=0.25, abs=0.5)
    assert found.after[0] - found.before[0] == pytest.approx(curve[-1] - curve[0], abs=0.02)


def test_the_place_is_the_one_that_was_tested(finder, rng):
    early = 1 / (1 + np.exp(-(np.arange(64) - 6) * 4.394 / 5))
    slope = np.where(np.arange(64) < 8, 0, (np.arange(64) - 8) / 56)
    change = finder.find(alone(early - 1.6 * slope + np.cumsum(rng.normal(0, 0.004, 64))))
    assert change.test.found
    assert change.placed
    assert change.tau == pytest.approx(6, abs=1.5)
    assert abs(change.tau - change.test.tau) <= max(change.test.width, 3)
    assert change.size > 0.5


def test_a_change_that_cannot_be_placed_has_no_lead(finder, rng):
    edge = (np.arange(64) > 1).astype(float) + np.cumsum(rng.normal(0, 0.01, 64))
    late = asked((np.arange(64) > 30).astype(float), rng)
    lost, jump = finder.find(alone(edge)), finder.find(late)
    assert lost.test.found
    assert not lost.placed
    assert lost.interval_kind.startswith("not placed")
    assert next(r for r in rank([lost, jump], jump) if r.change is lost).lead is None


@pytest.mark.parametrize("questions", [True, False])
def test_intervals_of_tau_hold_it_under_training_noise(questions, finder):
    course, rng, held = (
        3 / (1 + np.exp(-(UNIT - 0.45) * 4.394 / 0.15)),
        np.random.default_rng(4),
        [],
    )
    for _ in range(60):
        seen = course + np.cumsum(rng.normal(0, 0.06, STEPS))
        change = finder.find(asked(seen, rng) if questions else alone(seen))
        if change.test.found:
            held.append(change.interval[0] <= 0.45 * (STEPS - 1) <= change.interval[1])
    assert len(held) >= 40
    assert np.mean(held) >= 0.9


def test_draws_of_training_noise_do_not_depend_on_other_series(finder, rng):
    one, two = alone(ABRUPT["step"] + white(rng), "a"), alone(ABRUPT["step"] + white(rng), "b")
    first = finder.find(two)
    finder.find(one)
    np.testing.assert_array_equal(finder.find(two).draws, first.draws)


def test_a_width_that_ends_at_the_widest_tried_is_a_lower_limit(finder, rng):
    wide = finder.find(alone(UNIT + white(rng)))
    narrow = finder.find(alone(ABRUPT["sigmoid"] + white(rng)))
    assert wide.width_at_limit
    assert wide.width_text.startswith(">= ")
    assert not narrow.width_at_limit
    assert narrow.width_text == f"{narrow.width:.3g}"


@pytest.mark.parametrize(("share", "found"), [(0.2, False), (0.9, True), (1.3, False)])
def test_a_shape_far_larger_than_the_curve_is_a_failed_fit(share, found):
    assert Abruptness(0.001, 30.0, 5.0, 2.0, share).found is found


def test_a_lone_change_among_many_series_is_found(finder, rng):
    jump = finder.find(alone(ABRUPT["step"] + white(rng)))
    calm = finder.find(alone(UNIT + white(rng)))
    many = [jump] + [calm] * 249
    assert min(adjust([change.test.p for change in many])) > 0.05
    assert rank(resolve(finder, many), None)[0].verdict == "abrupt"


def test_a_change_beyond_all_simulations_is_not_called_smooth(finder, rng):
    jump = finder.find(alone(ABRUPT["step"] + white(rng)))
    calm = finder.find(alone(UNIT + white(rng)))
    verdicts = [row.verdict for row in rank([jump] + [calm] * 249, None)]
    assert verdicts[0] == AT_LIMIT
    assert set(verdicts[1:]) == {"smooth"}


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


def scored(course, rng, growth=None):
    """Margins that follow a course and wander, and the accuracy that counts them."""
    own = rng.normal(0, 1, QUESTIONS)
    walk = np.cumsum(rng.normal(0, 0.1, course.size))
    margins = (4 * course - 2 + walk)[:, None] + own
    if growth is not None:
        margins = margins * growth[:, None]
    steps = np.arange(course.size)
    hits = question_series("accuracy.x", "", "", "accuracy", steps, (margins > 0).astype(float))
    return hits, question_series("margin.x", "", "", "margin", steps, margins)


def test_accuracy_wanders_with_its_margins(finder, rng):
    hits, margins = scored(ABRUPT["sigmoid"], rng)
    alone, both = finder.find(hits), finder.find(hits, margins)
    assert both.tau == alone.tau
    spread = [np.std(one.draws) for one in (alone, both)]
    assert spread[1] > 1.2 * spread[0]


def test_the_size_of_margins_is_nothing_to_accuracy(finder, rng):
    state = rng.bit_generator.state
    found = []
    for growth in (None, np.geomspace(1e-4, 10, STEPS)):
        rng.bit_generator.state = state
        found.append(finder.find(*scored(ABRUPT["sigmoid"], rng, growth)))
    np.testing.assert_allclose(found[0].draws, found[1].draws, atol=1e-6)
    assert found[0].size_interval == pytest.approx(found[1].size_interval, abs=1e-9)


def test_margins_far_from_zero_do_not_move_accuracy(rng):
    weights = np.full((5, QUESTIONS), 1 / QUESTIONS)
    far = np.sign(rng.normal(size=(STEPS, QUESTIONS))) * 10
    assert not crossed(weights, far, rng.normal(size=(5, STEPS))).any()
    near = np.full((1, QUESTIONS), 0.5)
    moved = crossed(weights, near, np.array([[-1.0], [-0.4], [0.0], [0.4], [1.0]]))
    np.testing.assert_allclose(moved[:, 0], [-1, 0, 0, 0, 0])
