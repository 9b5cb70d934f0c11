import numpy as np
import pytest

from critical_phase.analysis import planted_run
from critical_phase.analysis.updates.lora_geometry import (
    cosine_to_last,
    inner,
    local_cosine,
    module_gram,
    norms,
    singular_values,
    stable_rank,
    step_lengths,
)
from critical_phase.analysis.updates.weights import weights


def factors(rng, rank=3):
    return rng.normal(size=(rank, 10)), rng.normal(size=(12, rank)), 0.5


def dense(one):
    return one[2] * one[1] @ one[0]


def gram(path):
    """Inner products of points of a path."""
    return path @ path.T


def test_inner_products_and_singular_values_match_the_dense_update(rng):
    one, two = factors(rng), factors(rng)
    assert inner(one, two) == pytest.approx(np.sum(dense(one) * dense(two)), abs=1e-10)
    expected = np.linalg.svd(dense(one), compute_uv=False)[:3]
    np.testing.assert_allclose(singular_values(one), expected, atol=1e-10)


def test_rewriting_the_factors_changes_nothing(rng):
    a, b, s = factors(rng)
    mix = rng.normal(size=(3, 3)) + 3 * np.eye(3)
    other = (np.linalg.solve(mix, a), b @ mix, s)
    assert inner(other, other) == pytest.approx(inner((a, b, s), (a, b, s)))
    assert stable_rank(other) == pytest.approx(stable_rank((a, b, s)))


def test_gram_and_step_lengths_match_the_dense_path(rng):
    path = [{"m": factors(rng)} for _ in range(4)]
    flat = np.stack([dense(p["m"]).ravel() for p in path])
    np.testing.assert_allclose(module_gram(path, "m"), flat @ flat.T, atol=1e-10)
    np.testing.assert_allclose(
        step_lengths(path), np.linalg.norm(np.diff(flat, axis=0), axis=1), atol=1e-10
    )


def test_local_cosine_of_a_line_a_turn_and_jitter(rng):
    line = np.outer(np.arange(6.0), [1, 2])
    np.testing.assert_allclose(local_cosine(gram(line))[1:-1], -1, atol=1e-12)
    turn = np.array([[0, 0], [1, 0], [2, 0], [2, 1], [2, 2.0]])
    assert local_cosine(gram(turn))[2] == pytest.approx(0, abs=1e-12)
    jitter = rng.normal(size=(300, 500))
    assert np.nanmean(local_cosine(gram(jitter))) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("lag", [1, 3, 8])
def test_local_cosine_of_a_random_walk_is_zero_at_every_lag(lag, rng):
    walk = np.cumsum(rng.normal(size=(60, 2000)), axis=0)
    assert np.nanmean(local_cosine(gram(walk), lag)) == pytest.approx(0, abs=0.03)


def test_a_zero_update_has_no_direction(rng):
    path = np.array([[0.0, 0], [1, 0], [1, 1]])
    assert np.isnan(cosine_to_last(gram(path))[0])
    assert norms(gram(path))[0] == 0
    assert np.isnan(stable_rank((np.ones((2, 3)), np.zeros((4, 2)), 1.0)))


def test_weights_have_no_question_interval_and_say_so(rng, quick):
    result = weights(planted_run("switch", rng), quick)
    assert "no question interval" in result.about
    assert all(c.low is None for c in result.curves)
