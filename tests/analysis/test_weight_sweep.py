import numpy as np
import pytest

from critical_phase.analysis import AnalysisSettings, planted_run
from critical_phase.analysis.inference.bootstrap import question_weights
from critical_phase.analysis.scores.weight_sweep import (
    WEIGHTS,
    best_weight,
    log_spaced,
    weight_hits,
    weight_sweep,
)

NEAR = 0.015  # three standard errors of 10,000 questions
READ = 0.045  # and of the 1,000 that the reference values come from


@pytest.fixture(scope="module")
def world(make_rows):
    """A base that prefers at random, and a direction that knows."""
    rng = np.random.default_rng(0)
    rows = make_rows([4] * 10_000, rng)
    base = 3 * rng.normal(size=40_000) + rows.correct
    return rows, base, rng.normal(size=40_000) + 1.6 * rows.correct


def accuracy(world, weight, size):
    """Accuracy of base - weight * (base - size * u)."""
    rows, base, u = world
    return weight_hits(rows, base[None], (base - size * u)[None], [weight]).mean()


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (0.5, {0.001: 0.340, 0.01: 0.341, 0.1: 0.356, 0.3: 0.388, 1.0: 0.492, 3.0: 0.677}),
        (0.9, {0.001: 0.341, 0.01: 0.355, 0.1: 0.482, 0.3: 0.666, 1.0: 0.726, 3.0: 0.727}),
    ],
)
def test_a_growing_negative_head_fakes_a_jump_below_weight_one(world, weight, expected):
    for size, value in expected.items():
        assert accuracy(world, weight, size) == pytest.approx(value, abs=READ)


def test_accuracy_below_weight_one_depends_on_one_ratio_only(world):
    found = [accuracy(world, w, 1.5 * (1 - w) / w) for w in (0.3, 0.5, 0.9, 0.99)]
    assert max(found) - min(found) < 1e-3  # rounding moves a few ties at most
    assert found[0] == pytest.approx(0.555, abs=READ)


def test_at_weight_one_size_does_not_matter_and_the_base_is_gone(world):
    found = {accuracy(world, 1.0, size) for size in (0.25, 1.0, 4.0)}
    assert max(found) - min(found) < 1e-3
    assert found.pop() == pytest.approx(0.729, abs=READ)


def test_weight_zero_is_the_first_term_alone(world):
    assert accuracy(world, 0.0, 1.0) == pytest.approx(0.34, abs=READ)


def test_the_best_weight_is_where_it_was_planted():
    hits = np.zeros((len(WEIGHTS), 200))
    hits[7, :150], hits[6, :100] = 1.0, 1.0
    found = best_weight(hits, question_weights(200, 100, np.random.default_rng(0)))
    assert (found.weight, found.interval, found.accuracy) == (0.7, (0.7, 0.7), 0.75)


def test_of_equally_good_weights_the_middle_one_is_taken():
    hits = np.zeros((len(WEIGHTS), 50))
    hits[5:14] = 1.0
    found = best_weight(hits, np.full((20, 50), 1 / 50))
    assert found.weight == 0.9
    assert found.interval == (0.9, 0.9)


def test_a_weight_without_accuracy_is_never_the_best():
    hits = np.full((len(WEIGHTS), 10), 0.5)
    hits[10] = np.nan
    assert best_weight(hits, np.full((20, 10), 0.1)).weight != 1.0


def test_chosen_steps_are_log_spaced_trained_and_end_with_the_last():
    steps = np.arange(0, 828)
    chosen = steps[log_spaced(steps, 12)]
    assert (chosen[0], chosen[-1]) == (1, 827)
    assert len(chosen) <= 12
    assert np.all(np.diff(np.log(chosen)) < 1.2)
    assert log_spaced(np.array([0, 4, 9]), 12).tolist() == [1, 2]


def test_a_switch_in_the_negative_head_needs_a_weight(rng, quick):
    result = weight_sweep(planted_run("switch", rng, questions=100, width=0), quick)
    assert [m.id for m in result.maps] == ["weight_accuracy.likra", "weight_accuracy.base_likra"]
    last = [row[-1] for row in result.maps[0].values]
    assert last[10] > last[0] + 0.3
    curve = result.curves[0]
    assert curve.low[-1] <= curve.value[-1] <= curve.high[-1]
    assert "chosen on the same questions" in curve.caption


def test_the_weight_of_the_analysis_is_compared(rng):
    settings = AnalysisSettings(draws=50, weight=0.33)
    table = weight_sweep(planted_run("switch", rng, width=0), settings).tables[0]
    used = [c["key"] for c in table.columns].index("used")
    assert {row[used] for row in table.rows} == {0.3}
    assert "the nearest tried to 0.33" in table.caption


def test_without_a_negative_head_one_line_says_so(rng, quick):
    result = weight_sweep(planted_run("flat", rng, heads=("positive",), width=0), quick)
    assert result.maps == result.curves == result.tables == ()
    assert len(result.warnings) == 1
