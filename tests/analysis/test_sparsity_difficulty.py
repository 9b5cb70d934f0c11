"""Sparsity with difficulty held fixed, and the directions of states."""

import numpy as np
import pytest

from critical_phase.analysis import AnalysisSettings, planted_run
from critical_phase.analysis.activity.sparsity_difficulty import sparsity_difficulty
from critical_phase.analysis.inference.bootstrap import question_weights
from critical_phase.analysis.inference.partial import Correlation, family_p, rank_correlation
from critical_phase.analysis.scores.difficulty import base_margins
from critical_phase.analysis.states.state_rank import participation_jackknife, state_rank


def correlated(x, y, rng, **options):
    return rank_correlation(x, y, question_weights(x.size, 300, rng), rng, **options)


def test_a_rank_correlation_is_that_of_scipy_and_its_partial_form_that_of_residuals(rng):
    x, y, z = rng.normal(size=(3, 80))
    ranks = np.argsort(np.argsort([x, y, z], axis=1), axis=1).astype(float)
    expected = np.corrcoef(ranks)
    assert correlated(x, y, rng).value == pytest.approx(expected[0, 1])
    xy, xz, yz = expected[0, 1], expected[0, 2], expected[1, 2]
    partial = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert correlated(x, y, rng, fixed=z).value == pytest.approx(partial)


def test_what_difficulty_alone_explains_vanishes_when_it_is_held_fixed(rng):
    hard = rng.normal(size=400)
    x, y = hard + 0.5 * rng.normal(size=(2, 400))
    assert correlated(x, y, rng).p < 0.02
    assert correlated(x, y, rng, fixed=hard).p > 0.05


def test_the_interval_covers_and_permutations_keep_their_level():
    rng, covered, alarms = np.random.default_rng(5), 0, 0
    for _ in range(100):
        hard = rng.normal(size=100)
        x, y = hard + rng.normal(size=(2, 100))
        found = correlated(x, y, rng, fixed=hard, permutations=100)
        covered += found.interval[0] <= 0 <= found.interval[1]
        alarms += found.p <= 0.05
    assert covered >= 88  # 95 %, sd 2.2 %
    assert alarms <= 12  # 5 %, sd 2.2 %


def test_a_family_is_judged_by_its_largest_member_and_the_undefined_stay_out():
    strong = Correlation(0.9, (0.8, 0.95), np.array([0.1, -0.2, 0.3]))
    wild = Correlation(0.2, (0.0, 0.4), np.array([0.95, 0.1, 0.1]))
    none = Correlation(float("nan"), (np.nan, np.nan), np.zeros(3))
    assert family_p([strong, wild, none])[:2] == [0.5, 1.0]
    assert np.isnan(family_p([strong, none])[1])
    assert strong.p == 0.25


def planted(rng, relation):
    """A run in which the change of Hoyer sparsity follows a number per question."""
    run = planted_run("switch", rng, questions=120)
    table = run.tables["sparsity/negative/hoyer"]
    margin = base_margins(run.rows, run.base_scores())
    grown = np.linspace(0, 1, table.shape[0])[:, None] * relation(margin)[run.rows.question]
    table[:, -1] += grown
    return run


def found_in(run, head="negative"):
    result = sparsity_difficulty(run, AnalysisSettings(draws=100, permutations=99))
    rows = [one for one in result.facts["relations"] if one.head == head and one.metric == "hoyer"]
    return result, {one.where: one for one in rows}


def test_a_change_that_follows_difficulty_is_found_where_it_was_planted(rng):
    result, at = found_in(planted(rng, lambda margin: 0.05 * margin))
    assert at["layer 1"].change.value > 0.8
    assert at["layer 1"].change.interval[0] > 0.7
    assert abs(at["layer 0"].change.value) < 0.25
    columns = [c["key"] for c in result.tables[0].columns]
    p = {(r[0], r[1], r[2]): r[columns.index("change_p")] for r in result.tables[0].rows}
    assert p["negative", "layer 1", "Hoyer sparsity"] == 0.01
    assert p["positive", "layer 1", "Hoyer sparsity"] > 0.05
    curve = {c.head: c for c in result.curves}["negative"]
    assert curve.value[-1] > abs(curve.value[0]) + 0.4


def test_a_change_that_follows_nothing_is_not_found(rng):
    result, _ = found_in(planted(rng, lambda margin: 0 * margin))
    columns = [c["key"] for c in result.tables[0].columns]
    for key in ("base_p", "change_p", "late_p", "gap_p"):
        values = [row[columns.index(key)] for row in result.tables[0].rows]
        assert min(p for p in values if p is not None) > 0.02, key


def test_right_answers_that_change_differently_are_found(rng):
    run = planted(rng, lambda margin: 0 * margin)
    run.tables["sparsity/negative/hoyer"][-1, -1] += 0.01 * run.rows.correct
    _, at = found_in(run)
    gap = at["layer 1"].gap
    assert gap.value == pytest.approx(0.01, abs=0.002)
    assert gap.interval[0] > 0
    assert abs(gap.z[0]) > np.abs(gap.z[1:]).max()


def test_without_activations_there_is_one_note(rng, quick):
    result = sparsity_difficulty(planted_run("switch", rng, width=0), quick)
    assert len(result.warnings) == 1
    assert not result.tables


def test_directions_of_an_even_cloud_and_of_a_line(rng):
    value, error = participation_jackknife(rng.normal(size=(400, 60)), 20)
    assert value == pytest.approx(399 * 60 / (399 + 60), rel=0.03)
    assert error < 2
    line = np.outer(rng.normal(size=50), rng.normal(size=8))
    assert participation_jackknife(line, 10)[0] == pytest.approx(1)
    assert np.isnan(participation_jackknife(np.ones((50, 8)), 10)[0])


def test_the_jackknife_interval_covers_the_truth():
    rng, spread = np.random.default_rng(3), np.array([3.0, 2, 1, 1, 1, 0.5])
    draws = [participation_jackknife(rng.normal(size=(100, 6)) * spread, 20) for _ in range(100)]
    truth = (spread**2).sum() ** 2 / (spread**4).sum()
    covered = np.mean([abs(v - truth) <= 1.96 * e for v, e in draws])
    assert covered >= 0.87  # 95 %, sd 2.2 %


def test_states_are_read_once_per_question(rng, quick):
    result = state_rank(planted_run("switch", rng), quick)
    assert [(c.head, c.n) for c in result.curves] == [("positive", 60), ("negative", 60)]
    assert all(low <= v <= high for c in result.curves
               for low, v, high in zip(c.low, c.value, c.high, strict=True))  # fmt: skip
    few = state_rank(planted_run("switch", rng, questions=30), quick)
    assert few.warnings[0].startswith("needs states at question_end of at least 40 questions")
