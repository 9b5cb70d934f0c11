import numpy as np
import pytest

from critical_phase.analysis.inputs import equal_sized
from critical_phase.analysis.linear_probe import (
    Prober,
    expected_hits,
    loqo_predictions,
    permuted_targets,
    rotate,
    targets,
    transfer_predictions,
    within_centred,
)


def refit(train, test, rows, penalty):
    """Leave each question out, fit ridge in the primal, predict it: the slow way."""
    y, out = targets(rows)[:, 0], np.empty(rows.question.size)
    strength = penalty * (train**2).sum() / len(train)
    for q in np.unique(rows.question):
        own = rows.question == q
        x = train[~own]
        w = np.linalg.solve(x.T @ x + strength * np.eye(x.shape[1]), x.T @ y[~own])
        out[own] = test[own] @ w
    return out


@pytest.mark.parametrize("width", [5, 90])
@pytest.mark.parametrize("sizes", [[4] * 12, [2, 3, 4, 5, 2, 3, 4]])
def test_leave_one_question_out_equals_refitting(width, sizes, make_rows, rng):
    rows = make_rows(sizes, rng)
    x = within_centred(rows, rng.normal(size=(rows.question.size, width)))
    fast = loqo_predictions(rotate(x), targets(rows), equal_sized(rows), 0.3)[:, 0]
    np.testing.assert_allclose(fast, refit(x, x, rows, 0.3), atol=1e-9)


def test_transfer_equals_refitting(make_rows, rng):
    rows = make_rows([4] * 10, rng)
    one, two = (within_centred(rows, rng.normal(size=(40, 6))) for _ in range(2))
    fast = transfer_predictions(one, two, targets(rows), equal_sized(rows), 3.0)[:, 0]
    np.testing.assert_allclose(fast, refit(one, two, rows, 3.0), atol=1e-9)


def test_permuted_labels_have_one_right_candidate_in_every_question(make_rows, rng):
    rows = make_rows([2, 3, 4], rng)
    labels = permuted_targets(rows, 50, rng)
    assert np.all(np.add.reduceat(labels > 0, [0, 2, 5], axis=0) == 1)
    np.testing.assert_allclose(np.add.reduceat(labels, [0, 2, 5], axis=0), 0, atol=1e-12)


def test_permuted_labels_score_at_chance_with_more_spread_than_binomial(make_rows, rng):
    rows = make_rows([4] * 250, rng)
    x = within_centred(rows, rng.normal(size=(1000, 300)))
    labels = permuted_targets(rows, 300, rng)
    blocks = equal_sized(rows)
    top1 = expected_hits(loqo_predictions(rotate(x), labels, blocks, 0.3), labels, blocks).mean(0)
    assert top1.mean() == pytest.approx(0.25, abs=0.008)
    assert 0.0274 < top1.std() < 0.042  # binomial .0274, measured .0333


def test_the_null_takes_its_own_best_penalty(make_rows, rng):
    rows = make_rows([4] * 60, rng)
    probe = Prober(rows, 200, rng).probe(rng.normal(size=(240, 10)))
    assert 0.25 < probe.null.mean() < 0.33


def test_a_planted_direction_is_found_and_shuffled_labels_are_not(make_rows, rng):
    rows = make_rows([4] * 100, rng)
    x = rng.normal(size=(400, 20))
    x[:, 3] += 3 * rows.correct
    prober = Prober(rows, 100, rng)
    assert prober.probe(x).top1.mean() > 0.9
    assert prober.probe(x).null.max() < 0.5


def test_inputs_equal_across_candidates_give_no_probe(make_rows, rng):
    rows = make_rows([4] * 10, rng)
    assert Prober(rows, 20, rng).probe(rng.normal(size=(10, 5))[rows.question]) is None


def test_a_shift_of_whole_questions_changes_nothing(make_rows, rng):
    rows = make_rows([3] * 20, rng)
    x = rng.normal(size=(60, 5))
    moved = x + rng.normal(size=(20, 5))[rows.question]
    np.testing.assert_allclose(within_centred(rows, x), within_centred(rows, moved), atol=1e-12)


def test_equal_predictions_share_the_hit(make_rows, rng):
    rows = make_rows([4] * 5, rng)
    hits = expected_hits(np.zeros((20, 1)), targets(rows), equal_sized(rows))
    np.testing.assert_array_equal(hits, 0.25)
