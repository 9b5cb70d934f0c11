from dataclasses import replace

import numpy as np
import pytest

from critical_phase.analysis.inference.bootstrap import shared_weights
from critical_phase.analysis.jumps.place_check import disagreements, place_checks, place_table
from critical_phase.analysis.jumps.posterior import step_posterior
from critical_phase.analysis.jumps.series_change import ChangeFinder
from critical_phase.analysis.series import Series
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.errors import FitError


def stepped(rng, at=13, count=30, size=0.3, sd=0.05):
    return size * (np.arange(count) >= at) + rng.normal(0, sd, count)


def test_vector_of_a_jump_of_six_deviations():
    found = [step_posterior(stepped(np.random.default_rng(seed))) for seed in range(40)]
    assert {one.mode for one in found} == {13}
    assert np.median([one.mass_at_mode for one in found]) == pytest.approx(0.999, abs=0.0006)


def test_marginals_equal_numerical_integration():
    """Integrate normal likelihood x prior over mean and variance on a grid, side by side."""
    value = np.array([0.1, -0.05, 0.02, 0.4, 0.36])
    centred = value - value.mean()
    log_variance = np.linspace(-14, 6, 1501)
    variance = np.exp(log_variance)

    def side(part):
        mean = np.linspace(-3, 3, 2001)[:, None]
        away = ((part[:, None, None] - mean) ** 2).sum(axis=0)
        log = -part.size / 2 * np.log(2 * np.pi * variance) - away / (2 * variance)
        log += 0.5 * np.log(0.01 / (2 * np.pi * variance)) - 0.01 * mean**2 / (2 * variance)
        log += np.log(0.01) - 2 * np.log(variance) - 0.01 / variance
        inner = np.trapezoid(np.exp(log), mean[:, 0], axis=0)
        return np.trapezoid(inner * variance, log_variance)

    slow = np.array([side(centred[:k]) * side(centred[k:]) for k in (2, 3)])
    found = step_posterior(value)
    np.testing.assert_array_equal(found.before, [2, 3])
    np.testing.assert_allclose(found.probability, slow / slow.sum(), atol=2e-3)


def test_probabilities_sum_to_one_and_the_likely_set_holds_enough(rng):
    found = step_posterior(stepped(rng, size=0.1))
    assert found.probability.sum() == pytest.approx(1, abs=1e-12)
    held = found.probability[np.isin(found.before, found.likely)].sum()
    assert held >= 0.95
    least = found.probability[np.isin(found.before, found.likely)].min()
    assert held - least < 0.95


def test_level_and_order_of_time_change_nothing(rng):
    value = stepped(rng)
    one, moved, back = (step_posterior(v) for v in (value, value + 7, value[::-1].copy()))
    np.testing.assert_allclose(one.probability, moved.probability, atol=1e-9)
    np.testing.assert_allclose(one.probability, back.probability[::-1], atol=1e-9)


def test_noise_alone_has_no_sure_place(rng):
    assert step_posterior(rng.normal(0, 0.05, 30)).mass_at_mode < 0.7


def test_too_few_points_are_refused():
    with pytest.raises(FitError, match="needs at least 4 numbers, found 3 of 3"):
        step_posterior(np.arange(3.0))
    with pytest.raises(FitError, match="found 4 of 5"):
        step_posterior(np.array([0.0, 1.0, np.nan, 1.0, 2.0]))


@pytest.fixture
def finder():
    settings = AnalysisSettings(draws=100, smooth_draws=100)
    return ChangeFinder(shared_weights(20, settings), settings)


def change(finder, value, steps):
    return finder.find(Series("margin.x", "", "", "margin", steps, value))


def test_both_ways_meet_at_a_planted_step_and_no_set_is_finer_than_the_checkpoints(finder, rng):
    steps = np.arange(0, 66, 2)
    found = {"margin.x": change(finder, stepped(rng, 16, 33), steps)}
    (check,) = place_checks(found, ["margin.x", "margin.y"])
    assert check.agrees is True
    assert check.interval[0] <= 31 <= check.interval[1]
    assert check.interval[1] - check.interval[0] >= 2
    assert check.mode == 31
    assert disagreements([check], found) == []
    assert place_table([check], found).rows[0][-1] == 2


def test_a_smooth_curve_is_placed_but_not_compared(finder, rng):
    ramp = np.linspace(0, 1, 33) + rng.normal(0, 0.01, 33)
    (check,) = place_checks({"margin.x": change(finder, ramp, np.arange(33))}, ["margin.x"])
    assert check.agrees is None


def test_two_places_that_do_not_meet_are_said(finder, rng):
    """A spike of noise apart from the change is not planted easily, so the interval is moved."""
    found = change(finder, stepped(rng, 8, 33), np.arange(33))
    (met,) = place_checks({"margin.x": found}, ["margin.x"])
    (apart,) = place_checks({"margin.x": replace(found, interval=(24.0, 26.0))}, ["margin.x"])
    assert met.agrees is True
    assert apart.agrees is False
    (text,) = disagreements([apart], {"margin.x": replace(found, interval=(24.0, 26.0))})
    assert text.startswith("margin.x: one step would lie between steps 7 and 8 (exact posterior)")
    assert "puts the change between 24 and 26" in text
