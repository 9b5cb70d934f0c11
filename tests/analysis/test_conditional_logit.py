"""Conditional logit, the row-wise logistic fit beside it, and the online code."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from critical_phase.analysis.probing.conditional_logit import conditional_logit, log_softmax
from critical_phase.analysis.probing.held_out import (
    FOLDS,
    MASS_MEAN,
    logit_features,
    logit_scores,
    row_logistic_scores,
    whole_folds,
)
from critical_phase.analysis.probing.linear_probe import (
    expected_hits,
    loqo_predictions,
    rotate,
    within_centred,
)
from critical_phase.analysis.probing.online_code import block_ends, online_code
from critical_phase.analysis.probing.question_blocks import choices, contrasts, groups_of
from critical_phase.analysis.scores.margin import right_pairs

MIXED = [2, 3, 4, 5, 2, 3, 4] * 3


def planted(make_rows, rng, sizes, width=8, strength=1.0):
    rows = make_rows(sizes, rng)
    x = rng.normal(size=(rows.question.size, width))
    x[:, 0] += strength * rows.correct
    groups = groups_of(rows)
    return rows, x, groups, choices(groups, rows.correct.astype(float))


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("sizes", [[4] * 20, MIXED])
def test_newton_finds_the_minimum_of_the_penalised_likelihood(sizes, make_rows, rng):
    rows, x, groups, right = planted(make_rows, rng, sizes)

    def loss(w):
        value = 0.5 * w @ w
        for q in np.unique(rows.question):
            own = rows.question == q
            value -= log_softmax((x[own] @ w)[None])[0, np.argmax(rows.correct[own])]
        return value

    found = conditional_logit(x, groups, right, 1.0)
    assert found.converged
    slow = minimize(loss, np.zeros(8), tol=1e-10)
    np.testing.assert_allclose(found.weights, slow.x, atol=1e-4)


def test_a_shift_of_whole_questions_leaves_the_weights_alone(make_rows, rng):
    rows, x, groups, right = planted(make_rows, rng, MIXED)
    moved = x + 5 * rng.normal(size=(21, 8))[rows.question]
    one, two = (conditional_logit(t, groups, right, 1.0).weights for t in (x, moved))
    np.testing.assert_allclose(one, two, atol=1e-8)


@pytest.mark.parametrize(("c", "least"), [(1e-3, 0.99), (1e-5, 0.99999), (1e-8, 1 - 1e-9)])
def test_weak_logistic_fits_are_the_mass_mean_direction(c, least, make_rows, rng):
    rows, x, groups, right = planted(make_rows, rng, [4] * 60, width=30)
    means = x[rows.correct].mean(axis=0) - x[~rows.correct].mean(axis=0)
    fit = LogisticRegression(C=c, tol=1e-14, max_iter=5000).fit(x, rows.correct)
    assert cosine(fit.coef_[0], means) > least
    within = conditional_logit(x, groups, right, 1 / c).weights
    assert cosine(within, within_centred(rows, x)[rows.correct].sum(axis=0)) > least


def test_a_ridge_without_end_scores_by_the_mass_mean_of_other_questions(make_rows, rng):
    rows, x, groups, right = planted(make_rows, rng, [4] * 15)
    rotated = rotate(contrasts(groups, x), len(x))
    fast = loqo_predictions(rotated, groups, right, [MASS_MEAN])[0, :, 0]
    centred = within_centred(rows, x)
    slow = np.empty(len(x))
    for q in range(15):
        own = rows.question == q
        slow[own] = centred[own] @ centred[rows.correct & ~own].sum(axis=0)
    assert cosine(fast, slow) == pytest.approx(1, abs=1e-9)


def test_folds_keep_questions_whole_and_both_fits_find_what_is_planted(make_rows, rng):
    rows, x, _, _ = planted(make_rows, rng, [4] * 80, strength=2.0)
    fold = whole_folds(rows, rng)
    assert np.bincount(fold).tolist() == [80 // FOLDS] * FOLDS
    features = logit_features(rows, x)
    for fit in (logit_scores, row_logistic_scores):
        assert right_pairs(rows, fit(rows, features, fold)).mean(axis=1).max() > 0.85


def test_turning_wide_features_changes_no_logistic_score(make_rows, rng):
    rows, x, _, _ = planted(make_rows, rng, [4] * 12, width=60)
    turned = logit_features(rows, x)
    assert turned.shape == (48, 36)
    fold = whole_folds(rows, rng)
    plain = logit_scores(rows, within_centred(rows, x), fold)
    np.testing.assert_allclose(logit_scores(rows, turned, fold), plain, atol=1e-5)


def test_folds_that_tear_questions_apart_fall_far_below_chance(make_rows, rng):
    rows, x, groups, right = planted(make_rows, rng, [4] * 60, width=300, strength=0.0)
    x += 2 * rng.normal(size=(60, 300))[rows.question]  # what candidates of a question share
    torn = rng.permutation(240) % 5
    scores = {}
    for name, fold in (("torn", torn), ("whole", whole_folds(rows, rng)[rows.question])):
        scores[name] = np.empty(240)
        for part in range(5):
            held = fold == part
            model = LogisticRegression(C=0.1).fit(x[~held], rows.correct[~held])
            scores[name][held] = model.decision_function(x[held])
    top1 = {
        name: expected_hits(line[None, :, None], groups, right).mean()
        for name, line in scores.items()
    }
    assert top1["torn"] < 0.1 < 0.14 < top1["whole"] < 0.4


def test_a_probe_that_reads_nothing_compresses_nothing(make_rows, rng):
    rows = make_rows(MIXED, rng)
    code = online_code(rows, np.zeros((rows.question.size, 3)), (1.0, 10.0), np.arange(21))
    np.testing.assert_allclose(code.bits, np.log2(np.bincount(rows.question)))
    assert code.compression == pytest.approx(1, abs=1e-12)


def test_a_planted_direction_compresses_and_noise_does_not(make_rows, rng):
    rows, x, _, _ = planted(make_rows, rng, [4] * 96, strength=3.0)
    order = rng.permutation(96)
    strengths = (1.0, 100.0)
    assert online_code(rows, x, strengths, order).compression > 2
    noise = rng.normal(size=x.shape)
    assert 0.9 < online_code(rows, noise, strengths, order).compression < 1.03


def test_blocks_double_and_end_with_the_last_question():
    assert block_ends(320) == [10, 20, 40, 80, 160, 320]
    assert block_ends(5) == [1, 2, 5]
