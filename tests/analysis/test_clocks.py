import numpy as np
import pytest

from critical_phase.analysis import AnalysisSettings, PlantedRun, planted_run
from critical_phase.analysis.inference.bootstrap import shared_weights
from critical_phase.analysis.jumps.change_points import change_points
from critical_phase.analysis.jumps.clock import clocks_of, examples_seen, summed_rate
from critical_phase.analysis.jumps.clock_tests import clock_tests
from critical_phase.analysis.jumps.series_change import ChangeFinder
from critical_phase.analysis.series import question_series

STEPS = np.arange(33)
SPEED_UP = 15
"""Last step with the low learning rate of the schedule world."""


class Scheduled(PlantedRun):
    """A run whose learning rate rises thirtyfold after step 15."""

    def training_log(self, head):
        log = super().training_log(head)
        return {**log, "lr": np.where(log["step"] <= SPEED_UP, 1e-4, 3e-3)}


def with_log(run, kind=Scheduled):
    return kind(**{name: getattr(run, name) for name in PlantedRun.__dataclass_fields__})


@pytest.fixture
def settings():
    return AnalysisSettings(draws=100, smooth_draws=100)


@pytest.fixture
def scheduled():
    """Margins that follow the summed learning rate, as a line."""
    run = with_log(planted_run("flat", np.random.default_rng(0), steps=33, width=0))
    rate = summed_rate(run, "negative")[1]
    rng = np.random.default_rng(1)
    values = 3 * (rate / rate[-1])[:, None] + rng.normal(0, 1, 60) + rng.normal(0, 0.1, (33, 60))
    return run, question_series("margin.base_likra", "", "nats", "margin", STEPS, values)


def test_progress_in_learning_rate_is_abrupt_in_steps_and_smooth_on_its_clock(scheduled, settings):
    run, series = scheduled
    finder = ChangeFinder(shared_weights(60, settings), settings)
    known = {series.quantity: (series, finder.test(series))}
    tests, speeds = clock_tests(run, "base_likra", finder, known)
    found = tests["margin.base_likra"]
    assert found["summed learning rate"].p > 0.05
    assert not found["summed learning rate"].found
    assert speeds["summed learning rate"].found
    assert speeds["summed learning rate"].interval[0] <= SPEED_UP + 0.5
    assert speeds["summed learning rate"].interval[1] >= SPEED_UP + 0.5
    assert speeds["summed learning rate"].ratio == pytest.approx(30, rel=1e-6)


def test_a_step_stays_abrupt_on_every_clock_that_runs_evenly(settings):
    run = planted_run("switch", np.random.default_rng(0), questions=80, steps=33, effects=True)
    facts = change_points(run, settings).facts
    found = facts["clock_tests"]["margin.likra"]
    steps = found["steps"]
    assert steps.found
    for name in ("examples", "summed learning rate"):
        assert found[name].p == steps.p
        assert found[name].tau_step == pytest.approx(steps.tau, abs=1e-6)
        assert facts["clock_speeds"][name].even
    assert found["examples"].tau == pytest.approx(8 * steps.tau)
    assert not facts["clock_speeds"]["path length"].even
    assert not facts["clock_speeds"]["path length"].found
    assert set(facts["clocks"]["margin.likra"]) >= {steps.p}


def test_path_length_has_the_result_that_the_verdict_reads(settings):
    run = planted_run("switch", np.random.default_rng(0), questions=80, steps=33)
    facts = change_points(run, settings).facts
    test = facts["clock_tests"]["accuracy.likra"]["path length"]
    assert facts["clocks"]["accuracy.likra"][1:] == (test.p, test.share)


def test_a_clock_that_goes_back_loses_those_checkpoints_and_counts_them():
    run = planted_run("switch", np.random.default_rng(0), steps=12, effects=True)
    run.tables["effects/negative/kl_text"][:] = np.arange(12)[:, None]
    run.tables["effects/negative/kl_text"][[5, 9]] = 0.5
    clock = clocks_of(run, "base_likra", np.arange(12))["KL from base"]
    assert clock.left_out == 2
    np.testing.assert_array_equal(clock.steps, [0, 1, 2, 3, 4, 6, 7, 8, 10, 11])
    np.testing.assert_allclose(clock.time, clock.steps)


def test_a_log_with_gaps_is_no_clock_and_is_named(settings):
    class Gaps(PlantedRun):
        def training_log(self, head):
            return {k: v[::3] for k, v in super().training_log(head).items()}

    run = with_log(planted_run("flat", np.random.default_rng(0), steps=12), Gaps)
    assert examples_seen(run, "negative") is None
    result = change_points(run, settings)
    assert set(result.facts["clock_speeds"]) == {"path length"}
    (text,) = [text for text in result.warnings if "clocks that are not stored" in text]
    assert "summed learning rate (a training log with every step)" in text
    assert "KL from base (probe effects RUN --text FILE)" in text


def test_examples_of_uneven_batches_are_those_of_the_log():
    class Uneven(PlantedRun):
        def training_log(self, head):
            log = super().training_log(head)
            return {**log, "examples": np.cumsum(np.arange(1, 12))}

    run = with_log(planted_run("flat", np.random.default_rng(0), steps=12), Uneven)
    clock = clocks_of(run, "likra", np.array([0, 3, 7]))["examples"]
    np.testing.assert_array_equal(clock.time, [0, 6, 28])
    assert clock.step_at(17.0) == 5
    assert not clock.proportional


def test_a_smooth_world_is_smooth_on_every_clock(settings):
    run = planted_run("mirage", np.random.default_rng(2), questions=80, steps=33, effects=True)
    for by_clock in change_points(run, settings).facts["clock_tests"].values():
        assert set(by_clock) >= {"steps", "examples", "path length", "KL from base"}
        assert not [t for t in by_clock.values() if t.found]
