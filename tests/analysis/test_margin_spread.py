import numpy as np
import pytest
from scipy.stats import binom

from critical_phase.analysis import AnalysisSettings, planted_run
from critical_phase.analysis.scores.margin_spread import (
    BINS,
    LEVELS,
    MOST_QUESTIONS,
    edges_of,
    margin_spread,
    quantile_interval,
    question_order,
    shares,
)


def test_zero_is_an_edge_and_the_bins_cover_all_but_the_tails(rng):
    for middle in (-3.0, 0.0, 40.0):
        values = rng.normal(middle, 2.0, (9, 200))
        edges = edges_of(values)
        assert edges.size == BINS + 1
        assert np.abs(edges).min() == 0.0
        assert np.diff(edges) == pytest.approx(edges[1] - edges[0])
        outside = np.mean((values < edges[0]) | (values > edges[-1]))
        assert outside <= 0.011


def test_shares_add_up_and_a_tie_is_no_gain(rng):
    values = np.round(rng.normal(0, 2.0, (5, 300)), 1)
    values[0, :50] = 0.0
    edges = edges_of(values)
    found = shares(values, edges)
    assert found.sum(axis=0) == pytest.approx(np.ones(5))
    won = found[edges[:-1] >= 0].sum(axis=0)
    assert won == pytest.approx((values > 0).mean(axis=1))


def test_a_step_without_margins_has_no_ridge(rng):
    values = rng.normal(size=(3, 20))
    values[0] = np.nan
    found = shares(values, edges_of(values))
    assert np.isnan(found[:, 0]).all()
    assert np.isfinite(found[:, 1:]).all()


@pytest.mark.parametrize("count", [30, 300, 1001])
@pytest.mark.parametrize("level", [0.25, 0.5, 0.75])
def test_order_statistics_enclose_a_quantile_often_enough(count, level):
    low, high = quantile_interval(count, level)
    below = binom.cdf([low, high], count, level)
    assert 0.95 <= below[1] - below[0] <= 0.99


def test_questions_are_sorted_by_when_they_turn_for_good():
    late, early, never, back = [-1, -1, 2], [-1, 3, 1], [-1, -2, -1], [1, -1, 3]
    order = question_order(np.array([late, early, never, back], dtype=float).T)
    assert order.tolist() == [1, 3, 0, 2]


def test_one_common_switch_and_many_single_ones_look_different():
    steps = np.arange(33)
    rng = np.random.default_rng(0)
    turns = {"together": np.full(200, 16.0), "one by one": rng.uniform(4, 28, 200)}
    spread = {}
    for name, turn in turns.items():
        values = np.where(steps[:, None] < turn, -3.0, 3.0) + rng.normal(0, 0.3, (33, 200))
        found = shares(values, edges_of(values))
        low, high = found[: BINS // 2].sum(axis=0), found[BINS // 2 :].sum(axis=0)
        spread[name] = int(((low > 0.2) & (high > 0.2)).sum())
    assert spread["together"] == 0
    assert spread["one by one"] > 8


def test_the_measure_of_a_planted_run_is_whole():
    run = planted_run("switch", np.random.default_rng(0), width=0, questions=320)
    found = margin_spread(run, AnalysisSettings())
    ridges, questions = found.maps
    assert [curve.label for curve in found.curves] == ["10 %", "25 %", "median", "75 %", "90 %"]
    assert len(found.curves) == len(LEVELS)
    for curve in found.curves:
        for low, value, high in zip(curve.low, curve.value, curve.high, strict=True):
            assert value is None or low <= value <= high
    assert len(ridges.row_labels) == BINS
    assert len(questions.row_labels) == len(set(questions.row_labels)) == MOST_QUESTIONS
    assert "Shown: 300 of 320 questions" in questions.caption
    accuracy = [sum(v > 0 for v in step) / 300 for step in zip(*questions.values, strict=True)
                if None not in step]  # fmt: skip
    middles = np.array(ridges.row_labels, dtype=float)
    right = [np.sum(np.array(step, dtype=float)[middles > 0])
             for step in zip(*ridges.values, strict=True) if None not in step]  # fmt: skip
    assert right == pytest.approx(accuracy, abs=0.03)


def test_without_a_mode_it_says_so():
    run = planted_run("switch", np.random.default_rng(0), width=0, questions=20)
    found = margin_spread(run, AnalysisSettings(modes=()))
    assert found.warnings == ("no mode could be computed: nothing to follow",)
    assert not found.maps
