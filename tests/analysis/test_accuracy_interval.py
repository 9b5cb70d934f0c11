import numpy as np
import pytest

from critical_phase.analysis import planted_run
from critical_phase.analysis.inference.accuracy_interval import JOINED, accuracy_band, band_of
from critical_phase.analysis.inference.bootstrap import interval, question_weights
from critical_phase.analysis.inference.proportion import wilson
from critical_phase.analysis.results import BOOTSTRAP
from critical_phase.analysis.scores.likelihood import curves
from critical_phase.analysis.series import question_series


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [(10, 10, 0.7225, 1.0), (0, 20, 0.0, 0.1611), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_gives_the_published_numbers(right, of, low, high):
    # 81 of 263: Newcombe (1998), Stat. Med. 17, 857, table I; the others by hand.
    found = wilson(np.array([right / of]), of)
    np.testing.assert_allclose(np.ravel(found), [low, high], atol=6e-5)


def test_the_interval_of_a_perfect_accuracy_is_open():
    weights = question_weights(300, 100, np.random.default_rng(0))
    low, high = accuracy_band(np.ones((1, 300)), weights)
    assert interval(weights @ np.ones((300, 1)))[0] == pytest.approx(1.0)
    assert 0.98 < low[0] < 0.99
    assert high[0] == 1.0


def test_it_never_lies_inside_the_bootstrap(rng):
    hits = (rng.random((20, 60)) < np.linspace(0, 1, 20)[:, None]).astype(float)
    weights = question_weights(60, 200, rng)
    low, high = accuracy_band(hits, weights)
    least, most = interval(weights @ hits.T)
    assert (low <= least).all()
    assert (high >= most).all()


def test_it_covers_near_one_where_the_bootstrap_does_not(rng):
    truth, questions, runs = 0.99, 100, 300
    weights = question_weights(questions, 200, rng)
    hits = (rng.random((runs, questions)) < truth).astype(float)
    plain = interval(weights @ hits.T)
    joined = accuracy_band(hits, weights)
    covered = [np.mean((low <= truth) & (truth <= high)) for low, high in (plain, joined)]
    assert covered[0] < 0.8  # exp(-1) = .37 of runs have no error at all
    assert covered[1] > 0.93


def test_only_shares_of_right_questions_get_it(rng):
    weights = question_weights(4, 50, rng)
    values = np.ones((1, 4))
    for kind, unit, joined in (
        ("accuracy", "share of questions", True),
        ("accuracy", "squared distance", False),
        ("margin", "share", False),
    ):
        one = question_series("x", "x", unit, kind, np.array([1]), values)
        low, _ = band_of(one, weights)
        assert bool(low[0] < 0.99) is joined


def test_curves_and_findings_say_which_interval_they_have(rng, quick):
    result = curves(planted_run("switch", rng, questions=40, width=0), quick)
    kinds = {c.group: c.interval for c in result.curves}
    assert kinds["accuracy"] == kinds["direction_accuracy"] == JOINED
    assert kinds["margin"] == BOOTSTRAP
    found = result.facts["accuracy"]["likra"]
    assert found["last_interval"][0] < found["last"]
