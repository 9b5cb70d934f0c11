"""The divergence is exact, never negative, and right where it is tiny."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from critical_phase.probes.divergence import divergence


def log_probabilities(seed: int, scale: float = 3.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(5, 40, generator=generator)).log_softmax(-1)


def naive(p: torch.Tensor, q: torch.Tensor) -> Any:
    p, q = p.double(), q.double()
    return (p.exp() * (p - q)).sum(-1).numpy()


def test_nothing_diverges_from_itself() -> None:
    p = log_probabilities(0)
    assert divergence(p, p).tolist() == [0.0] * 5


@given(st.integers(0, 10_000), st.sampled_from([0.1, 3.0, 30.0]))
def test_it_is_the_sum_of_p_log_p_over_q(seed: int, scale: float) -> None:
    p, q = log_probabilities(seed, scale), log_probabilities(seed + 1, scale)
    ours = divergence(p, q).numpy()
    assert (ours >= 0).all()
    # float32 logarithms are good to eps times their size, about 3 * scale * 4.
    np.testing.assert_allclose(ours, naive(p, q), rtol=1e-4, atol=1e-6 * scale)


@pytest.mark.parametrize("shift", [1e-3, 1e-2, 0.1, 1.0, 5.0, -5.0])
def test_one_shifted_logit_gives_the_closed_form(shift: float) -> None:
    q = log_probabilities(3).double().log_softmax(-1)
    moved = q.clone()
    moved[:, 7] += shift
    total = moved.logsumexp(-1)
    mass = (moved[:, 7] - total).exp()
    expected = (shift * mass - total).numpy()
    ours = divergence(moved.log_softmax(-1).float(), q.float()).numpy()
    # Rounding of float32 logits, relative to the shift, enters once.
    np.testing.assert_allclose(ours, expected, rtol=1e-3 + 2e-6 / abs(shift))


def test_impossible_tokens_of_both_models_count_nothing() -> None:
    p, q = log_probabilities(1), log_probabilities(2)
    hidden = torch.full((5, 3), -torch.inf)
    ours = divergence(torch.cat([p, hidden], 1), torch.cat([q, hidden], 1))
    torch.testing.assert_close(ours, divergence(p, q))


def test_what_only_the_base_rules_out_is_infinitely_far() -> None:
    p, q = log_probabilities(1), log_probabilities(2)
    q[:, 0] = -torch.inf
    assert torch.isinf(divergence(p, q)).all()
    assert torch.isfinite(divergence(q, p)).all()
