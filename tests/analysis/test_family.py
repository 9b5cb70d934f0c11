import numpy as np
import pytest

from critical_phase.analysis.inference.bootstrap import shared_weights
from critical_phase.analysis.inference.family import family_p
from critical_phase.analysis.jumps.change_point import AbruptTest
from critical_phase.analysis.jumps.changes import rank
from critical_phase.analysis.jumps.noise_model import curve_covariance, shared_noise
from critical_phase.analysis.jumps.resolution import bracket, near, order_of, spacing, within
from critical_phase.analysis.jumps.series_change import ChangeFinder
from critical_phase.analysis.series import Series, question_series
from critical_phase.analysis.settings import AnalysisSettings

UNIT = np.linspace(0, 1, 33)
QUESTIONS = 60


@pytest.fixture
def finder():
    settings = AnalysisSettings(draws=300, smooth_draws=200)
    return ChangeFinder(shared_weights(QUESTIONS, settings), settings)


def asked(course, rng, name, walk=0.01):
    common = 3 * (course + np.cumsum(rng.normal(0, walk, course.size)))
    values = common[:, None] + rng.normal(0, 1.5, QUESTIONS)
    values = values + rng.normal(0, 0.15, (course.size, QUESTIONS))
    return question_series(name, "", "", "margin", np.arange(course.size), values)


def smooth(rng, count):
    courses = (UNIT, UNIT**2, 1 - np.exp(-UNIT / 0.3), 0 * UNIT)
    return [asked(courses[at % 4], rng, f"q{at}") for at in range(count)]


def test_a_planted_jump_passes_and_smooth_series_do_not(finder, rng):
    series = [asked((UNIT > 0.5).astype(float), rng, "jump"), *smooth(rng, 20)]
    p = family_p(finder, [finder.find(one) for one in series])
    assert p[0] <= 0.01
    assert np.sum(p <= 0.05) <= 2
    assert np.median(p) > 0.9


def test_families_of_smooth_series_raise_few_alarms(finder):
    """5 % of 15 families are .75; more than 3 has a chance of .5 %."""
    rng, alarms = np.random.default_rng(5), 0
    for _ in range(15):
        p = family_p(finder, [finder.find(one) for one in smooth(rng, 6)])
        alarms += bool(p.min() <= 0.05)
    assert alarms <= 3


def test_more_series_never_make_a_change_more_likely(finder, rng):
    found = [finder.find(one) for one in smooth(rng, 12)]
    few, many = family_p(finder, found[:4]), family_p(finder, found)
    assert np.all(many[:4] >= few)
    assert np.all(many >= [change.test.p for change in found])


def test_the_order_of_series_does_not_matter(finder, rng):
    found = [finder.find(one) for one in smooth(rng, 6)]
    np.testing.assert_array_equal(family_p(finder, found)[::-1], family_p(finder, found[::-1]))


def test_an_empty_family_has_no_values(finder):
    assert family_p(finder, []).size == 0


def test_simulated_noise_has_the_covariance_of_the_test(rng):
    series, time = asked(UNIT, rng, "q"), np.arange(33.0)
    settings = AnalysisSettings(draws=6000)
    weights = shared_weights(QUESTIONS, settings)
    noise = shared_noise(series.value, time, series.per_question, weights, rng)
    aim = curve_covariance(series.value, time, series.per_question)
    seen = noise.T @ noise / len(noise)
    assert np.linalg.norm(seen - aim) < 0.06 * np.linalg.norm(aim)


def test_series_share_what_questions_explain_and_nothing_else(rng):
    weights = shared_weights(QUESTIONS, AnalysisSettings(draws=4000))
    own = np.cumsum(rng.normal(0, 1, (33, QUESTIONS)), axis=0) + UNIT[:, None]
    value, time = own.mean(axis=1), np.arange(33.0)

    def pair(per_question):
        return [
            shared_noise(value, time, per_question, weights, np.random.default_rng(at))[:, -1]
            for at in (0, 1)
        ]

    assert abs(np.corrcoef(*pair(None))[0, 1]) < 0.06
    assert np.corrcoef(*pair(own))[0, 1] > 0.3


def test_both_statistics_are_those_of_the_single_test(rng):
    series, test = asked(UNIT, rng, "q"), AbruptTest(np.arange(33.0), 100, rng)
    null = test.simulate(series.value, series.per_question, np.zeros((2, 33)))
    assert null.seen[1] == pytest.approx(test.run(series.value, series.per_question).statistic)


def test_a_lead_below_the_spacing_is_unresolved():
    assert order_of(-0.5, (-0.6, -0.4), 1.0) == "unresolved"
    assert order_of(-3.0, (-4.0, -2.0), 1.0) == "before"
    assert order_of(3.0, (2.0, 4.0), 1.0) == "after"
    assert order_of(3.0, (-1.0, 7.0), 1.0) == "unresolved"
    assert order_of(None, None, None) == ""


@pytest.mark.parametrize(
    ("lead", "interval", "order", "with_it"),
    [
        (0.0, (-1.0, 1.0), "with", True),
        (0.5, (-2.0, 3.0), "with", True),
        (0.5, (-2.0, 3.1), "unresolved", False),  # no lead is shown, nor that there is none
        (-8.4, (-12.7, 6.5), "unresolved", False),
        (-2.0, (-2.9, -1.1), "before", True),  # earlier, by less than the jump is long
        (5.0, (2.0, 9.0), "after", False),
    ],
)
def test_with_the_jump_is_claimed_of_whole_intervals_only(lead, interval, order, with_it):
    assert order_of(lead, interval, 1.0, near(1.0, 4.0)) == order
    assert within(interval, near(1.0, 4.0)) is with_it


def test_what_counts_as_near_is_half_the_width_or_three_gaps():
    assert near(1.0, 18.0) == 9.0
    assert near(4.0, 18.0) == 12.0
    assert not within(None, 9.0)
    assert not within((0.0, 0.0), None)


def test_the_spacing_is_that_around_the_place():
    steps = np.array([0, 1, 2, 4, 8, 16, 32])
    assert [spacing(steps, tau) for tau in (0.5, 3.0, 4.0, 10.0, 40.0)] == [1, 2, 4, 8, 16]
    assert bracket(steps.astype(float), 4.0) == (2.0, 8.0)


def test_leads_are_no_finer_than_the_checkpoints_around_either_change(finder, rng):
    """The quantity changes between close checkpoints, the jump between distant ones."""
    steps = np.concatenate((np.arange(0, 24), np.arange(24, 60, 4)))

    def jump(at):
        value = (steps >= at) + rng.normal(0, 0.005, steps.size)
        return finder.find(Series(f"lora.{at}", "", "", "weights", steps, value))

    early, late = jump(10), jump(40)
    assert early.resolution == 1
    assert late.resolution == 4
    row = next(r for r in rank([early, late], late) if r.change is early)
    assert row.floor == 4
    assert row.lead_interval[0] <= row.lead - 4
    assert row.lead_interval[1] >= row.lead + 4
    assert row.order == "before"
    assert next(r for r in rank([early, late], late) if r.change is late).order == ""
