import numpy as np
import pytest

from critical_phase.analysis import planted_run
from critical_phase.analysis.attention import attention, entropy, js_divergence
from critical_phase.analysis.sparsity import gini, hoyer, kurtosis, participation


def test_js_divergence_of_equal_rows_is_zero_and_of_disjoint_rows_ln_two():
    one, two = np.eye(4)[0], np.eye(4)[1]
    assert js_divergence(one, one) == 0
    assert js_divergence(one, two) == pytest.approx(np.log(2))


def test_js_divergence_is_symmetric_and_bounded(rng):
    one, two = rng.dirichlet(np.ones(9), size=(2, 50))
    forth, back = js_divergence(one, two), js_divergence(two, one)
    np.testing.assert_allclose(forth, back, atol=1e-15)
    assert np.all((forth >= 0) & (forth <= np.log(2)))


def test_padding_and_rounding_of_rows_change_nothing(rng):
    one, two = rng.dirichlet(np.ones(5), size=2)
    padded = [np.concatenate((0.99 * row, np.zeros(3))) for row in (one, two)]
    assert js_divergence(*padded) == pytest.approx(float(js_divergence(one, two)))


def test_entropy_of_sixteen_equal_keys():
    assert entropy(np.full(16, 1 / 16)) == pytest.approx(2.7726, abs=1e-4)


def test_only_the_rerouted_head_drifts(rng, quick):
    result = attention(planted_run("rerouting", rng), quick)
    last = {(s.layer, s.attention_head): s.value[-1] for s in result.series if s.head == "negative"}
    assert max(last, key=last.get) == (1, 1)
    assert last[1, 1] > 10 * max(v for k, v in last.items() if k != (1, 1))


@pytest.mark.parametrize(
    ("metric", "gauss", "laplace", "one_hot"),
    [
        (hoyer, 0.2054, 0.2929, 1.0),
        (gini, 0.4142, 0.5, 1 - 1 / 4096),
        (participation, 1 / 3, 1 / 6, 1 / 4096),
        (kurtosis, 3, 6, 4096),
    ],
)
def test_sparsity_metrics_match_their_vectors(metric, gauss, laplace, one_hot, rng):
    assert metric(rng.normal(size=(50, 4096))).mean() == pytest.approx(gauss, rel=0.03)
    assert metric(rng.laplace(size=(50, 4096))).mean() == pytest.approx(laplace, rel=0.03)
    assert metric(np.eye(4096)[7]) == pytest.approx(one_hot)


def test_one_massive_dimension_ruins_hoyer_and_kurtosis(rng):
    x = rng.normal(size=4096)
    x[0] = 1000
    assert hoyer(x) == pytest.approx(0.949, abs=0.003)
    assert gini(x) == pytest.approx(0.547, abs=0.01)
