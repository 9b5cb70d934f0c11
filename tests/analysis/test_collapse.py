"""An early change, scaled, against a late one: the same under pure scale, and only there."""

import numpy as np
import pytest

from critical_phase.analysis import planted_run
from critical_phase.analysis.inference.bootstrap import question_weights
from critical_phase.analysis.jumps.change_point import Abruptness
from critical_phase.analysis.jumps.series_change import SeriesChange
from critical_phase.analysis.results import MeasureResult
from critical_phase.analysis.scores.collapse import (
    algebra_gap,
    scaled_hits,
    scaled_pair,
    spread,
    weighted_hits,
)
from critical_phase.analysis.scores.collapses import WEIGHTS, collapse
from critical_phase.analysis.scores.second_scorings import second_scoring
from critical_phase.analysis.series import Series

READ = 0.045  # three standard errors of 1,000 questions
STEPS = 25


@pytest.fixture(scope="module")
def world(make_rows):
    """A base that prefers at random, and a direction that knows."""
    rng = np.random.default_rng(0)
    rows = make_rows([4] * 1000, rng)
    base = 3 * rng.normal(size=4000) + rows.correct
    return rows, base, rng.normal(size=4000) + 1.6 * rows.correct


def test_accuracy_hangs_on_one_ratio_of_weight_and_alpha(world):
    rows, base, u = world
    found = [weighted_hits(rows, base, u, w, (1.5 * (1 - w) / w,)).mean()
             for w in (0.3, 0.5, 0.9, 0.99)]  # fmt: skip
    np.testing.assert_allclose(found, 0.555, atol=READ)
    assert max(found) - min(found) < 1e-3  # rounding moves a tie at most
    assert algebra_gap(rows, base, u, 1.5) == max(found) - min(found)


def test_weight_and_alpha_are_a_factor_on_the_change(world):
    rows, base, u = world
    one = weighted_hits(rows, base, u, 0.5, (0.25, 4.0))
    np.testing.assert_array_equal(one, scaled_hits(rows, base, u, (0.25, 4.0)))


def test_the_change_alone_is_the_limit_of_large_factors(world):
    rows, base, u = world
    found = scaled_hits(rows, base, u, (0.0, 1e9, np.inf))
    np.testing.assert_array_equal(found[1], found[2])
    assert found[0].mean() == pytest.approx(0.34, abs=READ)
    assert found[2].mean() == pytest.approx(0.729, abs=READ)


def test_a_change_that_only_grew_is_the_late_one_when_scaled(world):
    rows, base, u = world
    weights = question_weights(1000, 200, np.random.default_rng(1))
    for weight in WEIGHTS:
        found = scaled_pair(rows, base, 0.25 * u, 2.0 * u, weight, weights)
        assert found.matched == found.late
        assert (found.holds, found.fails) == (True, False)
    assert found.unscaled == found.matched  # at w = 1 size is nothing


def test_a_change_that_turned_is_not_reached_by_any_factor(world):
    rows, base, u = world
    other = np.random.default_rng(2).normal(size=4000)
    weights = question_weights(1000, 200, np.random.default_rng(1))
    for weight in WEIGHTS:
        found = scaled_pair(rows, base, other, 4 * u, weight, weights)
        assert (found.holds, found.fails) == (False, True)
        assert found.best >= found.matched - 1e-12


def test_another_draw_of_the_same_quality_is_no_failure(world):
    # Control: both directions know as much, so no difference beyond chance may be found.
    rows, base, u = world
    other = np.random.default_rng(4).normal(size=4000) + 1.6 * rows.correct
    weights = question_weights(1000, 200, np.random.default_rng(1))
    found = scaled_pair(rows, base, other, u, 1.0, weights)
    assert not found.fails
    assert found.deficit[0] < 0 < found.deficit[1]


def test_spread_ignores_what_all_candidates_share(world):
    rows, _, u = world
    shifted = u + np.random.default_rng(0).normal(0, 99, 1000)[rows.question]
    assert spread(rows, shifted) == pytest.approx(float(spread(rows, u)), rel=1e-9)


def grown(turn, heads=("negative",)):
    """A negative head that moves along one direction, turning at step `turn`."""
    rng = np.random.default_rng(5)
    run = planted_run("flat", rng, questions=150, width=0, steps=STEPS, heads=heads)
    time, truth = np.arange(STEPS)[:, None], run.rows.correct
    u = rng.normal(size=600) + 3 * truth * (time >= turn)
    run.tables["scores/negative"] = run.tables["scores/base"] - 0.1 * time * u
    return run


def points(step, size=(0.2, 0.4)):
    """What `change_points` says of a jump between two checkpoints."""
    accuracy = Series("accuracy.base_likra", "", "", "accuracy", np.arange(STEPS), np.zeros(STEPS))
    found = Abruptness(p=0.01, statistic=9.0, tau=step, width=0.5, share=0.9)
    change = SeriesChange(
        series=accuracy,
        test=found,
        tau=step,
        interval=(step - 0.5, step + 0.5),
        interval_kind="",
        width=0.5,
        before=0.3,
        after=0.6,
        size_interval=size,
        kind="step",
        draws=None,
    )
    facts = {"primary": "base_likra", "changes": {accuracy.quantity: change}}
    return {"change_points": MeasureResult("change_points", "", "", "", {}, facts=facts)}


def test_rows_of_the_map_are_level_under_pure_scale(quick):
    result = collapse(grown(0), quick)
    assert np.ptp(np.array(result.maps[0].values), axis=1).max() < 0.01  # ties in rounding
    assert result.facts["collapse"]["negative"].agreement == pytest.approx(1.0)


def test_the_early_step_is_the_last_before_the_jump(quick):
    found = collapse(grown(12), quick, points(11.5)).facts["collapse"]["negative"]
    assert (found.early, found.late) == (10, 24)
    # Steps 24 / 10 = 2.4, times the spread that the turn adds: sqrt(1 + 3^2 / 4) = 1.8.
    assert found.alpha == pytest.approx(2.4 * 1.8, rel=0.15)
    assert all(pair.fails for pair in found.pairs)
    assert "before the jump" in found.chosen


def test_a_change_that_findings_do_not_report_is_no_jump(quick):
    found = collapse(grown(0), quick, points(11.5, (-0.1, 0.4))).facts["collapse"]["negative"]
    assert found.early == 6


def test_without_a_jump_a_quarter_of_the_series_is_taken(quick):
    assert collapse(grown(0), quick).facts["collapse"]["negative"].early == 6


def test_the_noise_of_the_early_step_is_told_where_it_was_measured(quick):
    run = grown(12)
    assert np.isnan(collapse(run, quick).facts["collapse"]["negative"].snr)
    noisy = run.tables["scores/negative"] + np.random.default_rng(0).normal(0, 0.01, (STEPS, 600))
    run.tables["context/again/negative"] = noisy
    run.tables["context/again/base"] = run.tables["scores/base"]
    run.rows_in["again"] = run.rows
    done = {"second_scoring": second_scoring(run, quick)}
    found = collapse(run, quick, done).facts["collapse"]["negative"]
    # At step 6 the change is .6 u, spread sqrt(3/4) of it; half of the noise's variance is here.
    assert found.snr == pytest.approx(0.6 / (0.01 / np.sqrt(2)), rel=0.15)


def test_a_jump_at_the_first_step_leaves_nothing_to_scale(quick):
    result = collapse(grown(0), quick, points(0.8))
    assert result.facts["collapse"] == {}
    assert result.warnings == (
        "negative head: no trained checkpoint before the jump of accuracy, so none can be scaled",
    )


def test_a_head_that_moves_no_score_is_left_out(quick):
    run = grown(0)
    run.tables["scores/negative"][:] = run.tables["scores/base"]
    result = collapse(run, quick)
    assert result.maps == result.tables == ()
    assert "no checkpoint moves any score" in result.warnings[0]
