import numpy as np
import pytest

from critical_phase.analysis.probing.linear_probe import (
    PENALTIES,
    expected_hits,
    loqo_predictions,
    rotate,
    transfer_predictions,
    within_centred,
)
from critical_phase.analysis.probing.prober import Prober, permuted_choices
from critical_phase.analysis.probing.question_blocks import choices, contrasts, groups_of, helmert
from critical_phase.analysis.states.eigen import symmetric_eigen
from critical_phase.errors import FitError

MIXED = [2, 3, 4, 5, 2, 3, 4]


def refit(train, test, rows, penalty):
    """Leave each question out, fit ridge in the primal, predict it: the slow way."""
    train, test = (within_centred(rows, x) for x in (train, test))
    y = rows.correct - 1.0 / np.bincount(rows.question)[rows.question]
    out = np.empty(rows.question.size)
    strength = penalty * (train**2).sum() / len(train)
    for q in np.unique(rows.question):
        own = rows.question == q
        x = train[~own]
        w = np.linalg.solve(x.T @ x + strength * np.eye(x.shape[1]), x.T @ y[~own])
        out[own] = test[own] @ w
    return out


def prepared(rows):
    groups = groups_of(rows)
    return groups, choices(groups, rows.correct.astype(float))


@pytest.mark.parametrize("width", [5, 90])
@pytest.mark.parametrize("sizes", [[4] * 12, MIXED])
def test_leave_one_question_out_equals_refitting_at_every_penalty(width, sizes, make_rows, rng):
    rows = make_rows(sizes, rng)
    x = rng.normal(size=(rows.question.size, width))
    groups, right = prepared(rows)
    fast = loqo_predictions(rotate(contrasts(groups, x), len(x)), groups, right)[:, :, 0]
    slow = [refit(x, x, rows, penalty) for penalty in PENALTIES]
    assert len(PENALTIES) == 7
    np.testing.assert_allclose(fast, slow, atol=1e-12)


@pytest.mark.parametrize("width", [6, 70])
@pytest.mark.parametrize("sizes", [[4] * 10, MIXED])
def test_transfer_equals_refitting(width, sizes, make_rows, rng):
    rows = make_rows(sizes, rng)
    one, two = rng.normal(size=(2, rows.question.size, width))
    groups, right = prepared(rows)
    fast = transfer_predictions(contrasts(groups, one), [two, one], groups, right, 0.3)
    slow = [refit(one, x, rows, 0.3) for x in (two, one)]
    np.testing.assert_allclose(fast, slow, atol=1e-12)


def test_single_precision_ranks_as_double_precision_does(make_rows, rng):
    rows = make_rows([4] * 80, rng)
    x = rng.normal(size=(320, 400)) * (1 + np.arange(400)) ** -0.8
    groups, right = prepared(rows)
    guess = [
        loqo_predictions(rotate(contrasts(groups, x.astype(kind)), 320), groups, right)
        for kind in (np.float32, np.float64)
    ]
    assert guess[0].dtype == np.float32
    gap = np.abs(guess[0] - guess[1]).max(axis=(1, 2))
    assert np.all(gap < np.array([0.05, 0.01, 2e-3, 1e-3, 1e-3, 1e-3, 1e-3]))
    hits = [expected_hits(one, groups, right).mean(axis=1) for one in guess]
    assert np.abs(hits[0] - hits[1]).max() < 1.5 / 80


@pytest.mark.parametrize("k", [2, 3, 4, 7])
def test_contrasts_keep_inner_products_and_lose_shifts(k, make_rows, rng):
    basis = helmert(k)
    np.testing.assert_allclose(basis @ basis.T, np.eye(k - 1), atol=1e-14)
    np.testing.assert_allclose(basis.sum(axis=1), 0, atol=1e-14)
    rows = make_rows([k] * 6, rng)
    x = rng.normal(size=(6 * k, 5))
    moved = x + rng.normal(size=(6, 5))[rows.question]
    groups = groups_of(rows)
    np.testing.assert_allclose(contrasts(groups, x), contrasts(groups, moved), atol=1e-12)
    centred, few = within_centred(rows, x), contrasts(groups, x)
    np.testing.assert_allclose(few.T @ few, centred.T @ centred, atol=1e-12)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 2, 3, 40])
def test_eigenvectors_rebuild_the_matrix(size, kind, rng):
    x = rng.normal(size=(60, size)).astype(kind)
    gram = x.T @ x
    values, axes = symmetric_eigen(gram)
    tolerance = 60 * 1e-5 if kind == np.float32 else 1e-11
    assert values.dtype == axes.dtype == kind
    assert np.all(np.diff(values) >= 0)
    np.testing.assert_allclose((axes * values) @ axes.T, gram, atol=tolerance)
    np.testing.assert_allclose(axes.T @ axes, np.eye(size), atol=tolerance)


def test_a_gram_matrix_with_gaps_is_refused():
    with pytest.raises(FitError, match="not numbers"):
        symmetric_eigen(np.array([[1.0, np.nan], [np.nan, 1.0]]))


def test_permuted_labels_score_at_chance_with_more_spread_than_binomial(make_rows, rng):
    rows = make_rows([4] * 250, rng)
    groups = groups_of(rows)
    rotated = rotate(contrasts(groups, rng.normal(size=(1000, 300))), 1000)
    right = permuted_choices(groups, 300, rng)
    top1 = expected_hits(loqo_predictions(rotated, groups, right, [0.3]), groups, right)
    level = top1[0].mean(axis=0)
    assert level.mean() == pytest.approx(0.25, abs=0.008)
    assert 0.0274 < level.std() < 0.042  # binomial .0274, measured .0333


def test_the_null_of_a_prober_is_the_best_penalty_of_every_permutation(make_rows, rng):
    rows = make_rows([3, 4] * 30, rng)
    prober = Prober(rows, 50, rng)
    x = rng.normal(size=(rows.question.size, 10))
    rotated = prober.rotated(x)
    guess = loqo_predictions(rotated, prober.groups, prober.permuted)
    slow = expected_hits(guess, prober.groups, prober.permuted).mean(axis=1).max(axis=0)
    found = prober.probe(x).null
    assert np.mean(np.abs(found - slow) < 1e-9) > 0.9  # ties of float32 aside
    assert np.abs(found - slow).max() < 2.5 / 60
    assert found.mean() > 0.29


def test_a_planted_direction_is_found_and_shuffled_labels_are_not(make_rows, rng):
    rows = make_rows([4] * 100, rng)
    x = rng.normal(size=(400, 20))
    x[:, 3] += 3 * rows.correct
    probe = Prober(rows, 100, rng).probe(x)
    assert probe.top1.mean() > 0.9
    assert probe.null.max() < 0.5
    assert 0.2 < probe.control < 0.45


def test_labels_hashed_from_strings_are_learned_only_where_strings_come_back(make_rows, rng):
    rows = make_rows([4] * 100, rng)
    words = rng.normal(size=(12, 20))
    drawn = np.concatenate([rng.permutation(12)[:4] for _ in range(100)])
    again = type(rows)(
        rows.question, rows.correct, rows.characters, rows.tokens, rows.question_ids,
        rows.groups, tuple(f"word {i}" for i in drawn), rows.bytes,
    )  # fmt: skip
    x = words[drawn] + 0.1 * rng.normal(size=(400, 20))
    assert Prober(again, 20, rng).probe(x).control > 0.8
    assert Prober(rows, 20, rng).probe(x).control < 0.45


def test_inputs_equal_across_candidates_give_no_probe(make_rows, rng):
    rows = make_rows([4] * 10, rng)
    assert Prober(rows, 20, rng).probe(rng.normal(size=(10, 5))[rows.question]) is None


def test_equal_predictions_share_the_hit(make_rows, rng):
    rows = make_rows([4] * 5, rng)
    groups, right = prepared(rows)
    np.testing.assert_array_equal(expected_hits(np.zeros((1, 20, 1)), groups, right), 0.25)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_candidates_with_equal_features_tie_whatever_rounding_does(kind, make_rows, rng):
    rows = make_rows([4] * 40, rng)
    x = rng.normal(size=(80, 12)).repeat(2, axis=0).astype(kind)  # two and two are the same
    groups, right = prepared(rows)
    guess = loqo_predictions(rotate(contrasts(groups, x), 160), groups, right, PENALTIES[2:])
    assert set(np.unique(expected_hits(guess, groups, right))) == {0.0, 0.5}
