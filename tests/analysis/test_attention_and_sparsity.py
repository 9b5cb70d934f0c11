import numpy as np
import pytest

from critical_phase.analysis import planted_run
from critical_phase.analysis.activity.attention import (
    attention,
    entropy,
    js_divergence,
    normalised_entropy,
)
from critical_phase.analysis.activity.sparsity import sparsity
from critical_phase.analysis.activity.sparsity_metrics import (
    covariance_spectrum,
    effective_rank,
    gini,
    hoyer,
    kurtosis,
    l0,
    l0_own,
    l1,
    largest_dimensions,
    massive,
    participation,
    spectrum_participation,
    spectrum_rank,
    top_energy,
)
from critical_phase.errors import ShapeError


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


def test_normalised_entropy_is_one_for_equal_keys_and_undefined_for_the_first_token():
    rows = np.zeros((3, 16))
    rows[0], rows[1, :4], rows[2, 0] = 1 / 16, 1 / 4, 1
    found = normalised_entropy(rows, np.array([16, 4, 1]))
    np.testing.assert_allclose(found, [1, 1, np.nan])
    assert normalised_entropy(rows[1:2], np.array([16])) == pytest.approx(0.5)


def test_only_the_rerouted_head_drifts(rng, quick):
    result = attention(planted_run("rerouting", rng), quick)
    last = {(s.layer, s.attention_head): s.value[-1] for s in result.series if s.head == "negative"}
    assert max(last, key=last.get) == (1, 1)
    assert last[1, 1] > 10 * max(v for k, v in last.items() if k != (1, 1))


GAUSS = np.random.default_rng(1).normal(size=(20, 4096))
LAPLACE = np.random.default_rng(2).laplace(size=(20, 4096))


@pytest.mark.parametrize(
    ("metric", "gauss", "laplace", "one_hot"),
    [
        (hoyer, 0.2054, 0.2929, 1.0),
        (gini, 0.4142, 0.5, 1 - 1 / 4096),
        (participation, 1 / 3, 1 / 6, 1 / 4096),
        (kurtosis, 3, 6, 4096),
        (l1, 4096 * np.sqrt(2 / np.pi), 4096, 1),
        (effective_rank, 0.7529, 0.6552, 1 / 4096),
    ],
)
def test_sparsity_metrics_match_their_vectors(metric, gauss, laplace, one_hot):
    # Effective rank: ln E|x| - E(|x| ln|x|) / E|x| is -.2838 for |N| and -.4228 for Exp(1).
    assert metric(GAUSS).mean() == pytest.approx(gauss, rel=0.03)
    assert metric(LAPLACE).mean() == pytest.approx(laplace, rel=0.03)
    assert metric(np.eye(4096)[7]) == pytest.approx(one_hot)


@pytest.mark.parametrize("metric", [hoyer, gini, participation, kurtosis, effective_rank, l0_own])
def test_scale_and_order_change_nothing(metric, rng):
    x = rng.laplace(size=97)
    assert metric(-3 * rng.permutation(x)) == pytest.approx(float(metric(x)), rel=1e-12)


def test_a_constant_vector_is_not_sparse():
    flat = np.ones(100)
    found = [hoyer(flat), gini(flat), participation(flat), effective_rank(flat), kurtosis(flat)]
    np.testing.assert_allclose(found, [0, 0, 1, 1, 1], atol=1e-12)
    assert top_energy(flat, 7) == pytest.approx(0.07)
    assert l0_own(flat) == 0


def test_l0_has_one_threshold_and_l1_follows_the_scale():
    x = np.array([[0.0, 1, -2, 3], [0, 2, -4, 6]])
    np.testing.assert_allclose(l0(x, 1.5), [0.5, 0.75])
    np.testing.assert_allclose(l1(x), [6, 12])
    # mean 1.5, population sd 1.118: only 3 is above 2.618
    np.testing.assert_allclose(l0_own(x), [0.25, 0.25])


def test_top_energy_counts_dimensions_upwards():
    x = np.sqrt(np.arange(1.0, 31))
    assert top_energy(x, 10) == pytest.approx((28 + 29 + 30) / 465)
    assert top_energy(x, 1) == pytest.approx(30 / 465)


def test_one_massive_dimension_ruins_hoyer_and_kurtosis_until_it_is_left_out():
    x = GAUSS[0].copy()
    x[5] = 1000
    assert hoyer(x) == pytest.approx(0.949, abs=0.003)
    assert kurtosis(x) == pytest.approx(4063, rel=0.002)
    assert gini(x) == pytest.approx(0.547, abs=0.01)
    rest = np.delete(x, largest_dimensions(x[None]))
    assert np.flatnonzero(massive(x)).tolist() == [5]
    assert not massive(rest).any()
    assert gini(rest) < gini(GAUSS[0])
    assert hoyer(rest) < 0.21


@pytest.mark.parametrize(("rows", "ratio", "rank"), [(200, 190, 194), (1200, 928, 1036)])
def test_covariance_of_an_isotropic_cloud_is_capped_by_its_rows(rows, ratio, rank, rng):
    values = covariance_spectrum(rng.normal(size=(rows, 4096)))
    assert spectrum_participation(values) == pytest.approx(ratio, rel=0.01)
    assert spectrum_rank(values) == pytest.approx(rank, rel=0.01)
    assert rows * 4096 / (rows + 4096) == pytest.approx(ratio, rel=0.01)


def test_both_grams_give_the_spectrum_of_the_covariance(rng):
    wide, tall = rng.normal(size=(6, 9)), rng.normal(size=(9, 6)) @ np.diag(np.arange(1.0, 7))
    for x in (wide, tall):
        expected = np.linalg.eigvalsh(np.cov(x.T))[::-1][:6]
        np.testing.assert_allclose(covariance_spectrum(x)[:6], expected, atol=1e-9)
    assert np.isnan(spectrum_participation(covariance_spectrum(np.ones((4, 3)))))
    with pytest.raises(ShapeError, match="covariance of 1 row"):
        covariance_spectrum(wide[:1])


def test_every_stored_metric_is_mapped_and_only_hoyer_is_drawn(rng, quick):
    run = planted_run("flat", rng)
    for name in ("l1", "effective_rank", "top5_energy_trimmed", "unheard_of"):
        run.tables[f"sparsity/negative/{name}"] = run.tables["sparsity/negative/hoyer"]
    result = sparsity(run, quick)
    shown = {one.id.split(".")[0] for one in result.maps}
    assert {"sparsity_l1", "sparsity_effective_rank", "sparsity_top5_energy_trimmed"} <= shown
    assert {c.id.split(".")[0] for c in result.curves} == {
        "sparsity_hoyer", "sparsity_hoyer_trimmed",
    }  # fmt: skip
    assert result.warnings == ("stored and not shown here: unheard_of",)
