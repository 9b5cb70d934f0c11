"""LEACE and directions of truth on vectors whose truth is known."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from critical_phase.errors import FitError
from critical_phase.probes.interventions.answer_states import AnswerStates
from critical_phase.probes.interventions.leace_fit import cross_covariance, fit_leace
from critical_phase.probes.interventions.truth_directions import (
    mass_mean,
    ridge,
    ridge_weights,
    top1,
)

N, D = 400, 12


def planted(rng: np.random.Generator, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Correlated vectors that differ between a quarter and the rest along one direction."""
    z = (np.arange(N) % 4 == 0).astype(np.float64)
    x = rng.normal(size=(N, D)) @ rng.normal(size=(D, D)) + 3.0
    return x + strength * np.outer(z, rng.normal(size=D)), z[:, None]


def left(x: np.ndarray, z: np.ndarray, after: np.ndarray) -> float:
    return float(
        np.linalg.norm(cross_covariance(after, z)) / np.linalg.norm(cross_covariance(x, z))
    )


@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("strength", [3.0, 1e-3])
def test_nothing_of_the_concept_is_left_however_weak_it_is(
    shrinkage: float, strength: float
) -> None:
    """The second strength would slip through a limit that is absolute."""
    x, z = planted(np.random.default_rng(0), strength)
    fit = fit_leace(x, z, shrinkage)
    after = fit(x)
    assert left(x, z, after) < 1e-12
    np.testing.assert_allclose(fit(after), after, atol=1e-9)  # what is gone is gone
    np.testing.assert_allclose(after.mean(0), x.mean(0), atol=1e-9)
    assert fit.reads.shape == (D, 1)


def test_the_map_is_the_oblique_projection_of_its_closed_form() -> None:
    """Reference: for one column, W+ P W = s s'S^-1 / (s'S^-1 s)."""
    x, z = planted(np.random.default_rng(1), 2.0)
    fit = fit_leace(x, z, 0.2)
    spread = np.cov(x.T, bias=True)
    spread = 0.8 * spread + 0.2 * np.trace(spread) / D * np.eye(D)
    s = cross_covariance(x, z)[:, 0]
    reads = np.linalg.solve(spread, s)
    np.testing.assert_allclose(
        fit.writes @ fit.reads.T, np.outer(s, reads) / (s @ reads), rtol=1e-8, atol=1e-10
    )


def test_a_linear_probe_trained_anew_falls_to_the_majority() -> None:
    x, z = planted(np.random.default_rng(2), 4.0)
    label = z[:, 0].astype(int)
    before, after = (
        LogisticRegression(C=10.0, max_iter=2000).fit(one, label).score(one, label)
        for one in (x, fit_leace(x, z, 0.0)(x))
    )
    assert before > 0.9
    assert after <= 0.75


def test_it_moves_less_than_any_plain_projection() -> None:
    x, z = planted(np.random.default_rng(3), 2.0)
    s = cross_covariance(x, z)[:, 0]
    s /= np.linalg.norm(s)
    plain = x - np.outer((x - x.mean(0)) @ s, s)
    assert left(x, z, plain) < 1e-12
    ours = fit_leace(x, z, 0.0)(x)
    assert ((ours - x) ** 2).sum() < ((plain - x) ** 2).sum()


def test_two_columns_and_more_dimensions_than_rows() -> None:
    rng = np.random.default_rng(4)
    x, z = rng.normal(size=(30, 50)), rng.normal(size=(30, 2))
    for shrinkage in (0.0, 0.3):
        fit = fit_leace(x, z, shrinkage)
        assert fit.reads.shape == (50, 2)
        assert left(x, z, fit(x)) < 1e-9


def test_without_a_concept_there_is_nothing_to_erase() -> None:
    x = np.random.default_rng(5).normal(size=(20, 3))
    with pytest.raises(FitError, match="nothing to erase"):
        fit_leace(x, np.ones((20, 1)), 0.1)


def states(strength: float, seed: int = 6) -> tuple[AnswerStates, np.ndarray]:
    """Sixty questions of four; the first is right, along a known direction; questions far apart."""
    rng = np.random.default_rng(seed)
    v = rng.normal(size=D)
    v /= np.linalg.norm(v)
    question = np.repeat(np.arange(60), 4)
    right = np.tile([True, False, False, False], 60)
    x = rng.normal(size=(240, D)) + 50 * rng.normal(size=(60, D))[question]
    x += strength * np.outer(right, v)
    return AnswerStates(x[None].astype(np.float32), question, right, np.zeros((1, 3, D))), v


def test_a_planted_direction_is_found_beside_far_larger_differences_of_questions() -> None:
    made, v = states(4.0)
    for found in (mass_mean(made, 0), ridge(made, 0)):
        assert found @ v / np.linalg.norm(found) > 0.97
        assert top1(made.values[0], made, found) > 0.9
    nothing, v = states(0.0)
    assert abs(mass_mean(nothing, 0) @ v) < 0.5
    assert top1(nothing.values[0], nothing, np.zeros(D)) == 0.25  # all tie


def test_ridge_is_the_same_through_either_gram_and_ignores_shifts_of_questions() -> None:
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(9, 9)), rng.normal(size=9)
    wide = np.concatenate([x, np.zeros((9, 4))], axis=1)  # more columns than rows: the other way
    tall = np.concatenate([x, np.zeros((4, 9))])
    want = ridge_weights(x, y, 0.3)
    np.testing.assert_allclose(ridge_weights(wide, y, 0.3)[:9], want, rtol=1e-9)
    np.testing.assert_allclose(
        ridge_weights(tall, np.concatenate([y, np.zeros(4)]), 0.3 * 13 / 9), want, rtol=1e-9
    )
    made, _ = states(2.0)
    shifted = AnswerStates(
        made.values + made.question[None, :, None].astype(np.float32),
        made.question, made.right, made.means,
    )  # fmt: skip
    np.testing.assert_allclose(ridge(shifted, 0), ridge(made, 0), atol=1e-4)


def test_questions_without_both_kinds_of_candidates_give_no_direction() -> None:
    made, _ = states(1.0)
    wrong = AnswerStates(made.values, made.question, np.zeros(240, dtype=np.bool_), made.means)
    with pytest.raises(FitError, match="a right and a wrong candidate"):
        mass_mean(wrong, 0)
