"""Spaces of updates, turns of their path, spikes of the log, and intruder dimensions."""

import numpy as np
import pytest

from critical_phase.analysis import AnalysisSettings, planted_run
from critical_phase.analysis.activity.attention import attention
from critical_phase.analysis.updates.instability import instability
from critical_phase.analysis.updates.intruder_dimensions import (
    base_vectors,
    best_cosines,
    intruders,
    leading_vectors,
    random_update,
)
from critical_phase.analysis.updates.intruders import intruders as intruders_measure
from critical_phase.analysis.updates.spikes import above_neighbours, largest_spike
from critical_phase.analysis.updates.turning import cosines, sharpest_turn
from critical_phase.analysis.updates.update_spaces import (
    chance_overlap,
    overlap,
    principal_angles,
    random_overlaps,
    spectral_entropy,
    update_svd,
)
from critical_phase.analysis.updates.weight_spaces import weight_spaces
from critical_phase.errors import ShapeError


def factors(rng, rank=3, out=12, read=10):
    return rng.normal(size=(rank, read)), rng.normal(size=(out, rank)), 0.5


def space(rng, d, r):
    return np.linalg.qr(rng.normal(size=(d, r))).Q


def test_the_thin_decomposition_is_that_of_the_dense_update_and_gauge_free(rng):
    a, b, s = factors(rng)
    mix = rng.normal(size=(3, 3)) + 3 * np.eye(3)
    for one in ((a, b, s), (np.linalg.solve(mix, a), b @ mix, s)):
        found = update_svd(one)
        product = found.left * found.values @ found.right.T
        np.testing.assert_allclose(product, s * b @ a, atol=1e-10)
        np.testing.assert_allclose(found.left.T @ found.left, np.eye(3), atol=1e-10)


def test_an_update_of_nothing_spans_nothing():
    found = update_svd((np.ones((2, 5)), np.zeros((4, 2)), 1.0))
    assert found.rank == 0
    assert np.isnan(spectral_entropy(found.values))
    assert np.isnan(overlap(found.left, found.left))
    assert principal_angles(found.left, found.left).size == 0


def test_spectral_entropy_counts_equal_directions():
    assert np.exp(spectral_entropy(np.full(5, 2.0))) == pytest.approx(5)
    assert spectral_entropy(np.array([3.0])) == 0


def test_overlap_and_angles_of_known_planes():
    angle = np.radians(30)
    one = np.eye(4)[:, :2]
    two = np.stack([np.eye(4)[0], np.cos(angle) * np.eye(4)[1] + np.sin(angle) * np.eye(4)[2]], 1)
    np.testing.assert_allclose(principal_angles(one, two), [0, 30], atol=1e-5)
    assert overlap(one, two) == pytest.approx((1 + np.cos(angle) ** 2) / 2)
    assert overlap(one, one[:, :1]) == 1


def test_random_spaces_overlap_by_rank_over_width(rng):
    # science.md: .0268 measured against r/d = .0267, here r = 8 and d = 300.
    drawn = np.mean([overlap(space(rng, 300, 8), space(rng, 300, 8)) for _ in range(200)])
    null, angles = random_overlaps(300, (8, 8), rng, 200)
    assert chance_overlap(space(rng, 300, 8), space(rng, 300, 8)) == pytest.approx(0.0267, abs=1e-4)
    assert drawn == pytest.approx(0.0267, abs=0.0012)
    assert null.mean() == pytest.approx(0.0267, abs=0.0012)
    assert 60 < angles.mean() < 80


def path_of(kind, rng, steps=33, d=300):
    """A path of one known shape, with a little random walk on top."""
    walk = np.cumsum(rng.normal(size=(steps, d)), axis=0) / np.sqrt(d)
    along, across = space(rng, d, 2).T
    t, half = np.arange(steps)[:, None], steps // 2
    arc = t / steps * np.pi / 2
    return {
        "walk": walk,
        "line": t * along + 0.5 * walk,
        "momentum": np.cumsum(walk, axis=0),
        "circle": (np.cos(arc) * along + np.sin(arc) * across) * steps * 0.6 + 0.3 * walk,
        "slowing": steps * (1 - np.exp(-6 * t / steps)) * along + 0.3 * t * across + 0.1 * walk,
        "turn": np.minimum(t, half) * along + np.maximum(t - half, 0) * across + 0.4 * walk,
    }[kind]


@pytest.mark.parametrize("kind", ["walk", "line", "momentum", "circle", "slowing"])
def test_paths_without_a_turn_have_none(kind):
    for seed in range(15):
        rng = np.random.default_rng(seed)
        x = path_of(kind, rng)
        assert not sharpest_turn(x @ x.T, rng, shifts=60).found


def test_a_planted_turn_is_found_at_its_place_by_every_lag():
    for seed in range(15):
        rng = np.random.default_rng(seed)
        x = path_of("turn", rng)
        found = sharpest_turn(x @ x.T, rng, shifts=60)
        assert found.found
        assert abs(found.place - 16) <= 1
        assert found.lags == (1, 2, 4, 8)


def test_lags_that_do_not_fit_are_left_out(rng):
    x = path_of("line", rng, steps=12)
    assert list(cosines(x @ x.T)) == [1, 2]
    assert sharpest_turn(x[:6] @ x[:6].T, rng) is None
    assert sharpest_turn(np.zeros((33, 33)), rng) is None


def log_of(rng, steps=64, spike=1.0):
    values = np.exp(-np.arange(steps) / 40 + rng.normal(0, 0.1, steps))
    values[40] *= spike
    return np.arange(1, steps + 1), values


def test_a_planted_spike_is_found_at_its_step_and_size():
    found = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        found.append(largest_spike(*log_of(rng, spike=3.0), rng, draws=300))
    assert all(one.step == 41 for one in found)
    assert sum(one.found for one in found) >= 8  # found in 94 % of many
    assert sum(one.interval[0] <= 3 <= one.interval[1] for one in found) >= 9


@pytest.mark.parametrize("noise", ["normal", "heavy", "shrinking"])
def test_logs_without_a_spike_have_none(noise):
    alarms = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        ups = rng.standard_t(5, size=64) if noise == "heavy" else rng.normal(size=64)
        scale = np.geomspace(0.5, 0.05, 64) if noise == "shrinking" else 0.3
        values = np.exp(scale * ups - np.arange(64) / 30)
        alarms += largest_spike(np.arange(64), values, rng, draws=200).found
    assert alarms <= 6  # 5 % of 40, sd 1.4


def test_a_straight_log_stands_out_nowhere_and_short_or_zero_ones_are_not_judged(rng):
    np.testing.assert_allclose(above_neighbours(np.arange(20.0))[4:-4], 0, atol=1e-12)
    steps, values = log_of(rng)
    assert largest_spike(steps[:11], values[:11], rng) is None
    assert largest_spike(steps, 0 * values, rng) is None


def test_a_planted_intruder_is_found_and_a_small_update_brings_none(rng):
    base = space(rng, 60, 30) * np.linspace(10, 1, 30) @ space(rng, 30, 30).T
    vectors = base_vectors(base)
    outside = np.linalg.svd(vectors, full_matrices=True)[0][:, -1:]
    spike = 30 * outside @ space(rng, 30, 1).T
    found = best_cosines(vectors, base + spike)
    assert found.argmin() == 0
    assert intruders(found)[:2].tolist() == [1, 1]
    small = random_update(0.01 * np.linalg.norm(base), base.shape, 4, rng)
    assert intruders(best_cosines(vectors, base + small))[1] == 0
    assert np.linalg.norm(small) == pytest.approx(0.01 * np.linalg.norm(base))


@pytest.mark.parametrize("shape", [(530, 560), (560, 530)])
def test_large_weights_give_the_vectors_of_a_full_decomposition(shape, rng):
    weight = rng.normal(size=shape) + 50 * space(rng, shape[0], 4) @ space(rng, shape[1], 4).T
    full = np.linalg.svd(weight, full_matrices=False)[0]
    vectors = base_vectors(weight)
    np.testing.assert_allclose(np.abs(full.T @ vectors).max(axis=0), 1, atol=1e-6)
    np.testing.assert_allclose(
        np.abs((full[:, :10] * leading_vectors(weight)).sum(0)), 1, atol=1e-6
    )
    with pytest.raises(ShapeError, match="base weights write to"):
        best_cosines(vectors, weight[:-1])


def with_base(run, rng):
    for name in run.weights["negative"][0]:
        run.tables[f"base_weight/{name}"] = 30 * rng.normal(size=(16, 12))
    return run


def test_intruders_are_counted_at_three_checkpoints_beside_a_random_update(rng, quick):
    run = with_base(planted_run("switch", rng), rng)
    a, b, _ = run.weights["negative"][-1]["blocks.1.mlp.up_proj"]
    run.weights["negative"][-1]["blocks.1.mlp.up_proj"] = (a, b, 1000.0)
    found = intruders_measure(run, quick).facts["intruders"]
    assert [one.step for one in found["negative"]] == [1, 13, 24]
    assert [one.counts[1] for one in found["positive"]] == [0, 0, 0]
    assert found["negative"][-1].counts[1] > 0
    assert found["negative"][-1].directions == 20


def test_another_base_model_is_refused(rng, quick):
    run = with_base(planted_run("switch", rng), rng)
    run.tables["base_weight/blocks.0.mlp.up_proj"] = np.ones((16, 13))
    with pytest.raises(ShapeError, match="an update is 16 x 12, the base model's weight 16 x 13"):
        intruders_measure(run, quick)


def test_without_base_weights_or_adapters_there_is_one_warning(rng, quick):
    run = planted_run("switch", rng)
    assert "not on this disk" in intruders_measure(run, quick).warnings[0]
    run.weights.clear()
    assert intruders_measure(run, quick).warnings == ("no adapters were given: not computed",)
    assert len(weight_spaces(run, quick).warnings) == 2


def test_spaces_are_compared_with_the_last_and_between_heads(rng, quick):
    run = planted_run("switch", rng)
    result = weight_spaces(run, quick)
    lines = {c.id: c for c in result.curves}
    assert lines["lora_overlap_last.negative"].value[-1] == pytest.approx(1)
    assert lines["lora_overlap_last.negative"].value[0] is None
    assert lines["lora_overlap_last.negative"].references[0]["value"] == pytest.approx(2 / 16)
    assert {"lora_turning.negative.1", "lora_turning.negative.8"} <= set(lines)
    own = weight_spaces(planted_run("switch", rng, heads=("negative",)), AnalysisSettings(draws=20))
    assert [t.id for t in own.tables] == ["turns"]
    assert [t.id for t in result.tables] == ["turns", "head_spaces"]


def test_heads_need_not_adapt_the_same_modules_or_save_the_same_steps(rng, quick):
    run = with_base(planted_run("switch", rng), rng)
    for step in run.weights["positive"]:
        del step["blocks.0.mlp.up_proj"]
    result = weight_spaces(run, quick)
    assert {row[0] for row in result.tables[1].rows} == {"blocks.1.mlp.up_proj"}
    spread = {m.id: m.row_labels for m in result.maps}
    assert spread["lora_spread_by_module.positive"] == ["blocks.1.mlp.up_proj"]
    assert len(spread["lora_spread_by_module.negative"]) == 2
    found = intruders_measure(run, quick).facts["intruders"]
    assert [found[head][0].directions for head in run.heads] == [10, 20]


def test_heads_with_equal_updates_share_everything(rng, quick):
    run = planted_run("switch", rng)
    run.weights["positive"][:] = run.weights["negative"]
    result = weight_spaces(run, quick)
    cosine = next(m for m in result.maps if m.id == "lora_head_cosine_by_module")
    assert cosine.values[0][0] is None
    np.testing.assert_allclose(np.array(cosine.values)[:, 1:].astype(float), 1, atol=1e-9)
    assert all(row[2] == pytest.approx(1) for row in result.tables[1].rows)


def test_signs_of_instability_are_listed_and_a_calm_run_has_none(rng, quick):
    run = planted_run("rerouting", rng)
    done = {"attention": attention(run, quick), "weight_spaces": weight_spaces(run, quick)}
    result = instability(run, quick, done)
    found = result.facts["instability"]
    assert found["positive"].found == ()
    assert found["negative"].collapse[0] == "layer 1"
    assert found["positive"].spikes["loss"].ratio < 1.1
    assert {row[1] for row in result.tables[0].rows} >= {"gradient norm", "training loss"}


def test_p_values_are_adjusted_over_the_signs_of_both_heads(rng, quick):
    run = planted_run("flat", rng)
    alone = weight_spaces(run, quick).facts["turns"]
    result = instability(run, quick, {"weight_spaces": weight_spaces(run, quick)})
    both = [one.turn[1].p for one in result.facts["instability"].values()]
    assert all(p >= alone[head][1].p for p, head in zip(both, run.heads, strict=True))
    assert [c["key"] for c in result.tables[0].columns][6] == "p"


def test_a_layer_whose_attention_collapses_is_a_sign(rng, quick):
    run = planted_run("flat", rng)
    run.tables["attention/negative/0"][-1] = np.eye(8)[0]
    done = {"attention": attention(run, quick)}
    found = instability(run, quick, done).facts["instability"]
    assert found["negative"].found == ("attention entropy",)
    assert found["negative"].collapse[1] == pytest.approx(0, abs=1e-9)
    assert found["positive"].found == ()
