"""The vectors of every form of CKA, and what CKA cannot see."""

import numpy as np
import pytest

from critical_phase.analysis.probing.linear_probe import within_centred
from critical_phase.analysis.states.cka import (
    biased_cka,
    biased_cka_of_noise,
    block_cka,
    block_features,
    debiased_cka,
    plain_block_cka,
)
from critical_phase.analysis.states.cka_minibatch import minibatch_cka, row_batches
from critical_phase.analysis.states.cka_pairs import (
    block_cka_matrix,
    cka_matrix,
    debiased_cka_matrix,
)
from critical_phase.errors import ShapeError


def hsic_of_grams(x, y):
    """Unbiased HSIC, term by term as in equation 3 of 2010.15327."""
    n, (k, m) = len(x), (x @ x.T, y @ y.T)
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    one = np.ones(n)
    corner = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return (np.trace(k @ m) + corner - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3))


def u_centred(x):
    n = len(x)
    k = x @ x.T
    np.fill_diagonal(k, 0)
    sums = k.sum(axis=0)
    k = k - (sums[:, None] + sums) / (n - 2) + sums.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(k, 0)
    return k


def ratio(product, x, y):
    return product(x, y) / np.sqrt(product(x, x) * product(y, y))


def within(rows, x, y):
    return block_cka(block_features(rows, x), block_features(rows, y))[0]


@pytest.mark.parametrize("p", [7, 200])
def test_grams_features_and_u_centring_agree(p, rng):
    x = rng.normal(size=(60, p))
    y = x + 2 * rng.normal(size=x.shape)
    inner = np.sum(u_centred(x) * u_centred(y))
    cosine = inner / np.linalg.norm(u_centred(x)) / np.linalg.norm(u_centred(y))
    fast = debiased_cka_matrix(iter([x, y]), 2, 60)[0, 1]
    assert debiased_cka(x, y) == pytest.approx(ratio(hsic_of_grams, x, y), abs=1e-12)
    assert debiased_cka(x, y) == pytest.approx(cosine, abs=1e-12)
    assert debiased_cka(x, y) == pytest.approx(fast, abs=1e-12)


@pytest.mark.parametrize(
    ("n", "p", "q", "value"),
    [(100, 100, 100, 0.501), (100, 1000, 1000, 0.909), (100, 4096, 4096, 0.976),
     (500, 4096, 4096, 0.891), (200, 50, 3000, 0.431)],
)  # fmt: skip
def test_plain_cka_of_noise_is_far_from_zero_and_debiased_is_not(n, p, q, value, rng):
    x, y = rng.normal(size=(n, p)), rng.normal(size=(n, q))
    spread = np.sqrt(2) / n  # of debiased CKA of noise
    assert biased_cka(x, y) == pytest.approx(value, abs=3 * spread * (1 - value))
    assert biased_cka_of_noise(n, p, q) == pytest.approx(value, abs=0.003)
    assert debiased_cka(x, y) == pytest.approx(0, abs=3 * spread)


def test_shared_question_effects_fool_all_but_the_block_form(make_rows, rng):
    rows = make_rows([4] * 100, rng)
    x, y = 1.5 * rng.normal(size=(100, 128))[rows.question] + rng.normal(size=(2, 400, 128))
    assert debiased_cka(x, y) == pytest.approx(0.640, abs=0.03)
    centred = within_centred(rows, x), within_centred(rows, y)
    assert debiased_cka(*centred) == pytest.approx(0.097, abs=0.02)
    assert within(rows, x, y) == pytest.approx(0, abs=0.015)


def test_centring_within_questions_biases_debiased_cka_of_noise_but_not_the_block_form(
    make_rows, rng
):
    rows = make_rows([4] * 100, rng)
    x, y = rng.normal(size=(2, 400, 30))
    centred = within_centred(rows, x), within_centred(rows, y)
    assert debiased_cka(*centred) == pytest.approx(0.0245, abs=0.01)
    assert within(rows, x, y) == pytest.approx(0, abs=0.012)
    assert within(rows, x, x) == pytest.approx(1, abs=1e-12)


def test_a_constant_shift_and_a_flipped_sign_are_not_seen(rng):
    x = rng.normal(size=(300, 20)) * np.r_[0.1, np.ones(19)]
    flipped = x * np.r_[-1, np.ones(19)]
    for form in (biased_cka, debiased_cka):
        assert form(x, x + 10) == pytest.approx(1, abs=1e-10)
        assert form(x, flipped) == pytest.approx(1, abs=1e-12)
        assert 0.99 < form(x, x * np.r_[6, np.ones(19)]) < 1


def test_a_label_direction_that_decodes_perfectly_hardly_moves_cka(rng):
    label = np.where(rng.random(2000) < 0.5, 1.0, -1.0)
    x = rng.normal(size=(2000, 256))
    x[:, 0] *= 0.1
    y = x.copy()
    y[:, 0] += 1.35 * label
    assert np.all(np.sign(y[:, 0]) == label)
    assert debiased_cka(x, y) == pytest.approx(0.9935, abs=0.001)


def test_one_massive_dimension_makes_independent_states_equal_until_z_scored(rng):
    x, y = rng.normal(size=(2, 500, 100))
    x[:, 0] = y[:, 0] = 1000 * rng.normal(size=500)
    assert debiased_cka(x, y) == pytest.approx(1, abs=1e-4)
    assert debiased_cka(x / x.std(axis=0), y / y.std(axis=0)) == pytest.approx(0.01, abs=0.012)


def test_permuted_rows_give_zero(make_rows, rng):
    rows = make_rows([4] * 100, rng)
    x = rng.normal(size=(400, 30))
    mixed = x[rng.permutation(400)]
    assert debiased_cka(x, mixed) == pytest.approx(0, abs=0.02)
    assert within(rows, x, mixed) == pytest.approx(0, abs=0.02)


def test_batches_give_debiased_cka_and_one_batch_exactly(make_rows, rng):
    rows = make_rows([4] * 200, rng)
    x = rng.normal(size=(800, 60))
    y = x + rng.normal(size=x.shape)
    batches = row_batches(rows, 100)
    assert len(batches) == 8
    assert np.array_equal(np.sort(np.concatenate(batches)), np.arange(800))
    found = minibatch_cka((x[i], y[i]) for i in batches)
    assert found == pytest.approx(debiased_cka(x, y), abs=0.02)
    assert minibatch_cka([(x, y)]) == pytest.approx(debiased_cka(x, y), abs=1e-13)


def test_batches_of_noise_give_zero_by_one_ratio_of_sums(rng):
    x, y = rng.normal(size=(2, 1200, 400))
    pieces = [(x[i : i + 40], y[i : i + 40]) for i in range(0, 1200, 40)]
    assert minibatch_cka(pieces) == pytest.approx(0, abs=0.02)
    tops, ones, twos = np.transpose(
        [(hsic_of_grams(a, b), hsic_of_grams(a, a), hsic_of_grams(b, b)) for a, b in pieces]
    )
    whole = tops.sum() / np.sqrt(ones.sum() * twos.sum())
    assert minibatch_cka(pieces) == pytest.approx(whole, abs=1e-12)


def test_a_batch_of_three_rows_is_refused(rng):
    x = rng.normal(size=(3, 5))
    with pytest.raises(ShapeError, match="a batch has 3 rows, but unbiased HSIC needs at least 4"):
        minibatch_cka([(x, x)])


@pytest.mark.parametrize("p", [6, 90])
def test_all_pairs_at_once_equal_pair_by_pair(p, make_rows, rng):
    rows = make_rows([2, 3, 4, 5] * 5, rng)
    base = rng.normal(size=(70, p))
    tables = [base + t * rng.normal(size=base.shape) for t in range(5)]
    ready = [block_features(rows, one) for one in tables]
    slow = [[plain_block_cka(a, b) for b in ready] for a in ready]
    np.testing.assert_allclose(block_cka_matrix(rows, iter(tables), 5), slow, atol=1e-12)
    np.testing.assert_allclose(cka_matrix(ready), slow, atol=1e-12)
    slow = [[debiased_cka(a, b) for b in tables] for a in tables]
    np.testing.assert_allclose(debiased_cka_matrix(iter(tables), 5, 70), slow, atol=1e-12)


def test_a_table_without_spread_has_no_cka_with_anything(make_rows, rng):
    rows = make_rows([3] * 10, rng)
    x = rng.normal(size=(30, 8))
    found = block_cka_matrix(rows, iter([x, np.ones_like(x)]), 2)
    assert found[0, 0] == 1
    assert np.isnan(found[1]).all()
    assert np.isnan(found[0, 1])
