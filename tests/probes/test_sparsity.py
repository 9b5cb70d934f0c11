"""Sparsity metrics against vectors whose values are known in closed form."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from critical_phase.probes.sparsity_metrics import (
    METRICS,
    largest_dimensions,
    massive_count,
    pair_of_parts,
    sorted_parts,
    sparsity,
)

N = 200_000


def one(x: np.ndarray, eps: float = 1.0) -> dict[str, float]:
    rows = torch.from_numpy(np.asarray(x, dtype=np.float32))[None]
    return {name: float(value[0]) for name, value in sparsity(rows, eps).items()}


def test_one_hot_is_as_sparse_as_can_be() -> None:
    x = np.zeros(100)
    x[7] = -3.0
    found = one(x)
    assert found["hoyer"] == pytest.approx(1)
    assert found["gini"] == pytest.approx(1 - 1 / 100)
    assert found["pr"] == pytest.approx(1 / 100)
    assert found["kurtosis"] == pytest.approx(100)
    assert found["l0"] == pytest.approx(1 / 100)
    assert found["top10_energy"] == pytest.approx(1)


@pytest.mark.parametrize("value", [0.0, 2.5])
def test_a_constant_is_not_sparse_at_all(value: float) -> None:
    found = one(np.full(50, value))
    assert found["hoyer"] == pytest.approx(0, abs=1e-5)
    assert found["gini"] == pytest.approx(0, abs=1e-5)
    assert found["pr"] == pytest.approx(1)
    assert found["top10_energy"] == pytest.approx(0.1)
    assert found["l0"] == (1.0 if value > 1 else 0.0)


# Closed forms for Gaussian and Laplace values; the tolerance is sampling error at N.
def test_gaussian_values_match_theory() -> None:
    found = one(np.random.default_rng(0).normal(size=N))
    assert found["hoyer"] == pytest.approx(1 - math.sqrt(2 / math.pi), abs=3e-3)
    assert found["gini"] == pytest.approx(math.sqrt(2) - 1, abs=3e-3)
    assert found["pr"] == pytest.approx(1 / 3, abs=6e-3)
    assert found["kurtosis"] == pytest.approx(3, abs=6e-2)


def test_laplace_values_match_theory() -> None:
    found = one(np.random.default_rng(1).laplace(size=N))
    assert found["hoyer"] == pytest.approx(1 - 1 / math.sqrt(2), abs=4e-3)
    assert found["gini"] == pytest.approx(0.5, abs=4e-3)
    assert found["pr"] == pytest.approx(1 / 6, abs=8e-3)
    assert found["kurtosis"] == pytest.approx(6, abs=0.3)


def test_one_massive_dimension_decides_hoyer_but_hardly_gini() -> None:
    x = np.random.default_rng(2).normal(size=4096)
    before = one(x)
    x[5] = 1000.0
    after = one(x)
    assert before["hoyer"] == pytest.approx(0.205, abs=0.01)
    assert after["hoyer"] == pytest.approx(0.949, abs=0.002)
    assert after["kurtosis"] == pytest.approx(4063, rel=0.005)
    assert after["gini"] - before["gini"] < 0.15


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-3, 1e3))
def test_order_sign_and_scale_change_nothing_but_l0(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=60) ** 3
    moved = rng.permutation(x) * rng.choice([-1, 1], 60) * scale
    first, second = one(x, eps=0.5), one(moved, eps=0.5 * scale)
    for name in METRICS:
        if name != "l0":  # a value at the threshold may fall on either side
            assert second[name] == pytest.approx(first[name], rel=1e-3, abs=1e-4)


def test_rows_are_measured_alone() -> None:
    x = torch.randn(5, 40, generator=torch.Generator().manual_seed(0))
    together = sparsity(x, 0.5)
    for row in range(5):
        alone = sparsity(x[row : row + 1], 0.5)
        assert all(torch.allclose(alone[name][0], together[name][row]) for name in METRICS)


def test_huge_values_do_not_overflow() -> None:
    assert one(np.array([1e15, 1e15, 1e15, 0.0]))["kurtosis"] == pytest.approx(4 / 3)


def test_massive_dimensions_are_the_largest_percent() -> None:
    mean = np.ones(250)
    mean[[3, 200, 77]] = [9, 8, 7]
    assert massive_count(250) == 3
    assert largest_dimensions(mean).tolist() == [3, 77, 200]
    assert massive_count(10) == 1


def test_a_pair_is_what_both_sets_of_dimensions_give_alone() -> None:
    x = torch.from_numpy(np.random.default_rng(3).normal(size=(12, 300)) ** 3).float()
    massive = torch.tensor([4, 17, 250])
    x[:6, massive] *= 1e4
    x[7, massive] = x[7, :3].clone()  # ties with values that stay
    x[8, massive] = 0.0
    x[9, 20:] = 0.0
    x[10] = 0.0
    rest = torch.tensor([i for i in range(300) if i not in massive.tolist()])
    pair = pair_of_parts(*sorted_parts(x, massive), 0.5)
    for found, part in zip(pair, (x, x[:, rest]), strict=True):
        alone = sparsity(part, 0.5)
        for name in METRICS:
            torch.testing.assert_close(found[name], alone[name], rtol=2e-5, atol=2e-6)
