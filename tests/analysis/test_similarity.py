import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critical_phase.analysis.planted.planted_arrays import rows_of
from critical_phase.analysis.states.cka import (
    biased_cka,
    block_cka,
    block_features,
    debiased_cka,
    plain_block_cka,
)
from critical_phase.analysis.states.cka_pairs import cka_matrix
from critical_phase.analysis.states.displacement import constant_shift, relative_displacement


def block(rows, x, y):
    return block_cka(block_features(rows, x), block_features(rows, y))


def slow_block(rows, x, y):
    """Sum over pairs of different questions of the inner products, written out."""
    x, y = x.copy(), y.copy()
    for q in np.unique(rows.question):
        own = rows.question == q
        x[own] -= x[own].mean(axis=0)
        y[own] -= y[own].mean(axis=0)
    apart = rows.question[:, None] != rows.question[None, :]
    k, m = (x @ x.T) * apart, (y @ y.T) * apart
    return np.sum(k * m) / np.sqrt(np.sum(k * k) * np.sum(m * m))


@pytest.mark.parametrize(("p", "value"), [(100, 0.501), (1000, 0.909), (4096, 0.976)])
def test_biased_cka_of_noise_follows_theory(p, value, rng):
    x, y = rng.normal(size=(2, 100, p))
    assert biased_cka(x, y) == pytest.approx(value, abs=0.02)


def test_debiased_and_block_cka_of_noise_are_zero(make_rows, rng):
    rows = make_rows([4] * 150, rng)
    x, y = rng.normal(size=(2, 600, 40))
    assert debiased_cka(x, y) == pytest.approx(0, abs=0.02)
    assert block(rows, x, y)[0] == pytest.approx(0, abs=0.02)


def test_shared_question_effects_do_not_count_within_questions(make_rows, rng):
    rows = make_rows([4] * 100, rng)
    topic = 2 * rng.normal(size=(100, 50))[rows.question]
    x, y = topic + rng.normal(size=(2, 400, 50))
    assert debiased_cka(x, y) > 0.5
    assert block(rows, x, y)[0] == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("width", [1, 2, 5, 60])
def test_block_cka_equals_the_written_out_sum(width, make_rows, rng):
    rows = make_rows([2, 3, 4, 5, 3, 3], rng)
    x = rng.normal(size=(20, width))
    y = x + 0.5 * rng.normal(size=x.shape)
    one, two = block_features(rows, x), block_features(rows, y)
    assert block_cka(one, two)[0] == pytest.approx(slow_block(rows, x, y), abs=1e-12)
    assert plain_block_cka(one, two) == pytest.approx(slow_block(rows, x, y), abs=1e-12)


def test_jackknife_pseudo_values_leave_questions_out_exactly(make_rows, rng):
    rows = make_rows([3] * 12, rng)
    x = rng.normal(size=(36, 4))
    y = x + rng.normal(size=x.shape)
    whole, pseudo = block(rows, x, y)
    keep = rows.question != 5
    other = make_rows([3] * 11, rng)
    without = block(other, x[keep], y[keep])[0]
    assert pseudo[5] == pytest.approx(12 * whole - 11 * without, abs=1e-9)


def test_features_of_many_rows_and_grams_of_few_give_the_same(make_rows, rng):
    rows = make_rows([4] * 30, rng)
    x = rng.normal(size=(120, 11))
    y = x + rng.normal(size=x.shape)
    tables = [block_features(rows, one) for one in (x, y)]
    wide = [block_features(rows, np.hstack([one, 0 * one])) for one in (x, y)]
    assert (tables[0].gram is None, wide[0].gram is None) == (True, False)
    (value, pseudo), (other, others) = block_cka(*tables), block_cka(*wide)
    assert value == pytest.approx(other, abs=1e-13)
    np.testing.assert_allclose(pseudo, others, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 100), st.floats(-100, 100))
def test_rotation_scale_and_shift_change_no_cka(seed, scale, shift):
    rng = np.random.default_rng(seed)
    rows = rows_of(12, 3, rng)
    x, y = rng.normal(size=(2, 36, 5))
    y += x
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    moved = scale * y @ turn + shift
    assert debiased_cka(x, moved) == pytest.approx(debiased_cka(x, y), abs=1e-6)
    assert biased_cka(x, moved) == pytest.approx(biased_cka(x, y), abs=1e-6)
    assert block(rows, x, moved)[0] == pytest.approx(block(rows, x, y)[0], abs=1e-6)


def test_cka_is_blind_to_a_constant_vector_and_displacement_is_not(make_rows, rng):
    rows = make_rows([4] * 50, rng)
    x = rng.normal(size=(200, 10))
    assert block(rows, x, x + 10)[0] == pytest.approx(1, abs=1e-12)
    assert relative_displacement(rows, x, x + 10).mean() > 5
    assert constant_shift(rows, np.full((200, 10), 10.0))[0] == pytest.approx(1)


def test_constant_shift_recovers_the_planted_share(make_rows, rng):
    rows = make_rows([4] * 400, rng)
    change = rng.normal(size=(1600, 20)) + np.sqrt(0.8024 / 0.1976)
    assert constant_shift(rows, change)[0] == pytest.approx(0.8024, abs=0.01)


def test_constant_shift_ignores_question_effects(make_rows, rng):
    rows = make_rows([4] * 100, rng)
    change = rng.normal(size=(100, 200))[rows.question] + rng.normal(size=(400, 200))
    value, pseudo = constant_shift(rows, change)
    assert value == pytest.approx(0, abs=0.003)
    assert pseudo.mean() == pytest.approx(value, abs=1e-3)


def test_no_change_has_no_constant_share(make_rows, rng):
    assert np.isnan(constant_shift(make_rows([2, 2, 2], rng), np.zeros((6, 3)))[0])


def test_the_matrix_of_checkpoints_is_symmetric_with_ones(make_rows, rng):
    rows = make_rows([3] * 20, rng)
    tables = [block_features(rows, rng.normal(size=(60, 4))) for _ in range(3)]
    matrix = cka_matrix(tables)
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(np.diag(matrix), 1)
