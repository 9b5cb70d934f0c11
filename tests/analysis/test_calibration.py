import numpy as np
import pytest

from critical_phase.analysis import planted_run
from critical_phase.analysis.scores.calibration import (
    brier,
    calibration_error,
    confidence,
    error_draws,
    log_option_mass,
    option_probabilities,
)
from critical_phase.analysis.scores.calibrations import calibration


def calibrated(make_rows, rng, questions):
    """Scores, and a right candidate drawn with the probability that they say."""
    rows = make_rows([4] * questions, rng)
    values = rng.normal(0, 1.5, 4 * questions)
    shares = option_probabilities(rows, values).reshape(-1, 4).cumsum(axis=1)
    right = (rng.random((questions, 1)) > shares).sum(axis=1)
    rows.correct[:] = (np.arange(4) == right[:, None]).ravel()
    return rows, values


@pytest.mark.parametrize("k", [2, 4, 7])
def test_equal_scores_have_a_brier_score_of_k_minus_one_over_k(k, make_rows, rng):
    rows = make_rows([k] * 5, rng)
    np.testing.assert_allclose(brier(rows, np.full(5 * k, -7.0)), (k - 1) / k, atol=1e-15)


def test_a_brier_score_by_hand(make_rows, rng):
    rows = make_rows([3], rng)
    rows.correct[:] = [True, False, False]
    values = np.log([0.5, 0.3, 0.2])
    assert brier(rows, values)[0] == pytest.approx(0.25 + 0.09 + 0.04, abs=1e-15)


def test_a_shift_of_a_question_changes_nothing(make_rows, rng):
    rows = make_rows([2, 4, 3], rng)
    values = rng.normal(size=(2, 9))
    moved = values + 100.0 * rows.question
    np.testing.assert_allclose(brier(rows, moved), brier(rows, values), atol=1e-12)


def test_a_calibration_error_by_hand(make_rows, rng):
    rows = make_rows([2, 2, 2], rng)
    rows.correct[:] = [True, False, True, False, False, True]
    # Confidence .8 right, .8 right, .6 wrong: bins (.7, .8] and (.5, .6].
    values = np.log([0.8, 0.2, 0.8, 0.2, 0.6, 0.4])
    found = calibration_error(rows, values)
    assert found.error == pytest.approx((2 * 0.2 + 0.6) / 3)
    assert found.questions.tolist() == [0, 0, 0, 0, 0, 1, 0, 2, 0, 0]
    assert found.accuracy[7] == 1.0
    assert found.confidence[5] == pytest.approx(0.6)


@pytest.mark.parametrize("questions", [100, 1000])
def test_perfect_calibration_shows_its_small_sample_error_and_no_more(questions, make_rows):
    found = []
    for seed in range(30):
        rows, values = calibrated(make_rows, np.random.default_rng(seed), questions)
        found.append(calibration_error(rows, values))
    mean, expected = (np.mean([getattr(f, name) for f in found]) for name in ("error", "chance"))
    # The mean of 30 draws has a relative error of about .06; .2 is three of them.
    assert mean == pytest.approx(expected, rel=0.2)
    assert expected == pytest.approx({100: 0.096, 1000: 0.031}[questions], rel=0.1)


def test_scores_that_are_too_large_are_over_confident(make_rows, rng):
    rows, values = calibrated(make_rows, rng, 1000)
    sharp = calibration_error(rows, 4 * values)
    assert sharp.error > 10 * sharp.chance
    assert np.nanmean(sharp.confidence) > np.nanmean(sharp.accuracy)


def test_draws_with_equal_weights_are_the_error_itself(make_rows, rng):
    rows, values = calibrated(make_rows, rng, 50)
    draws = error_draws(confidence(rows, values[None]), np.full((1, 50), 1 / 50))
    assert draws[0, 0] == pytest.approx(calibration_error(rows, values).error)


def test_ties_at_the_top_count_their_share(make_rows, rng):
    rows = make_rows([4], rng)
    found = confidence(rows, np.zeros((1, 4)))
    assert (found.value[0, 0], found.right[0, 0]) == (0.25, 0.25)


def test_option_mass_is_the_sum_of_probabilities(make_rows, rng):
    rows = make_rows([3, 2], rng)
    scores = np.log([0.1, 0.2, 0.3, 0.04, 0.01])
    np.testing.assert_allclose(np.exp(log_option_mass(rows, scores)), [0.6, 0.05])
    assert log_option_mass(rows, np.full(5, -2000.0))[1] == pytest.approx(-2000 + np.log(2))


def test_the_interval_is_centred_on_the_error(make_rows, rng, quick):
    run = planted_run("switch", rng, questions=80, width=0)
    result = calibration(run, quick)
    line = next(c for c in result.curves if c.id == "calibration_error.sft")
    for low, value, high in zip(line.low, line.value, line.high, strict=True):
        assert low <= value <= high


def test_a_run_without_heads_describes_its_base(rng, quick):
    result = calibration(planted_run("flat", rng, heads=(), width=0), quick)
    assert result.curves == ()
    assert {row[0] for row in result.tables[0].rows} == {"base"}


def test_a_switch_lowers_the_brier_score_of_the_mode_that_holds_it(rng, quick):
    lines = {c.id: c for c in calibration(planted_run("switch", rng, width=0), quick).curves}
    assert lines["brier.likra"].value[-1] < lines["brier.likra"].value[0] - 0.2
    assert lines["option_mass.negative"].references[0]["label"] == "base"


def test_a_step_of_equal_scores_has_no_calibration(rng, quick):
    run = planted_run("switch", rng, questions=20, width=0)
    curves = {curve.id: curve for curve in calibration(run, quick).curves}
    # At step 0 both heads are the base, so likra has nothing to be calibrated.
    assert run.steps("positive")[0] == 0
    assert curves["calibration_error.likra"].steps[0] > 0
    assert curves["calibration_error.sft"].steps[0] == 0
