"""What movement is made of, whether heads agree, and which step is long."""

from itertools import pairwise

import numpy as np
import pytest

from critical_phase.analysis import AnalysisSettings, planted_run
from critical_phase.analysis.planted.worlds import PlantedRun
from critical_phase.analysis.probing.direction import mean_along, mean_cosine, row_cosine
from critical_phase.analysis.states.cka import block_cka, block_features
from critical_phase.analysis.states.displacement import constant_shift
from critical_phase.analysis.states.displacement_parts import (
    contrasts,
    displacement_parts,
    label_sums,
    question_sums,
)
from critical_phase.analysis.states.head_contrast import contrast_heads
from critical_phase.analysis.states.movement import movement
from critical_phase.analysis.states.path_share import distance, halves, path_shares, random_change
from critical_phase.analysis.states.similarity import similarity


def planted_change(rows, rng, mu, question, label, noise, width=40):
    """Movement whose parts have the given mean squares."""
    axes = rng.normal(size=(2, width))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    effects = rng.normal(size=(rows.question[-1] + 1, width))[rows.question]
    spread = np.sqrt(np.mean(contrasts(rows) ** 2))
    return (
        np.sqrt(mu) * axes[0]
        + np.sqrt(question / width) * effects
        + np.sqrt(label) / spread * contrasts(rows)[:, None] * axes[1]
        + np.sqrt(noise / width) * rng.normal(size=effects.shape)
    )


def by_id(parts):
    return {one.id: one for one in parts}


def column_of(table, key, **where):
    keys = [one["key"] for one in table.columns]
    return [
        r[keys.index(key)]
        for r in table.rows
        if all(r[keys.index(k)] == v for k, v in where.items())
    ]


@pytest.mark.parametrize("sizes", [[4] * 500, [2, 3, 4, 6] * 125])
def test_planted_parts_are_recovered(sizes, make_rows, rng):
    rows = make_rows(sizes, rng)
    found = displacement_parts(rows, planted_change(rows, rng, 0.4, 0.3, 0.2, 0.1))
    np.testing.assert_allclose(found.share, [0.4, 0.3, 0.2, 0.1], atol=0.03)
    assert found.share.sum() == pytest.approx(1)
    np.testing.assert_allclose(found.pseudo.mean(axis=1), found.share, atol=2e-3)


def test_noise_has_no_parts_but_the_rest(make_rows, rng):
    rows = make_rows([2, 4] * 150, rng)
    share = displacement_parts(rows, rng.normal(size=(900, 60))).share
    np.testing.assert_allclose(share, [0, 0, 0, 1], atol=0.01)


def test_the_constant_part_is_the_constant_shift_and_pseudo_values_leave_questions_out(
    make_rows, rng
):
    rows = make_rows([3] * 12, rng)
    change = planted_change(rows, rng, 0.4, 0.3, 0.2, 0.1)
    found = displacement_parts(rows, change)
    value, pseudo = constant_shift(rows, change)
    assert found.share[0] == pytest.approx(value)
    np.testing.assert_allclose(found.pseudo[0], pseudo)
    keep = rows.question != 5
    fewer = make_rows([3] * 11, rng)
    fewer.correct[:] = rows.correct[keep]
    without = displacement_parts(fewer, change[keep]).share
    np.testing.assert_allclose(found.pseudo[:, 5], 12 * found.share - 11 * without, atol=1e-9)


def test_no_movement_has_no_parts(make_rows, rng):
    assert np.isnan(displacement_parts(make_rows([2, 2], rng), np.zeros((4, 3))).share).all()


def test_naive_shares_of_noise_are_biased_and_phi_is_not(make_rows, rng):
    change = rng.normal(size=(40, 200))
    naive = np.sum(change.mean(axis=0) ** 2) / np.mean(np.sum(change**2, axis=1))
    rows = make_rows([2] * 20, rng)
    assert naive == pytest.approx(0.0255, abs=0.004)
    assert constant_shift(rows, change)[0] == pytest.approx(0, abs=0.004)


def test_mean_directions_are_compared_without_the_noise_of_shared_questions(rng):
    shift, shared = 0.5 * rng.normal(size=30), rng.normal(size=(200, 30))
    one, two = shared + shift, shared - shift
    assert mean_cosine(one, two)[0] == pytest.approx(-1, abs=0.1)
    assert np.isnan(mean_cosine(shared, shared)[0])
    value, pseudo = mean_cosine(one, one + rng.normal(size=one.shape))
    assert value == pytest.approx(1, abs=0.1)
    assert pseudo.mean() == pytest.approx(value, abs=0.02)


def test_the_part_along_a_direction_is_measured_in_its_length(rng):
    axis = rng.normal(size=20)
    base = axis + rng.normal(size=(300, 20))
    assert mean_along(-0.5 * axis + rng.normal(size=base.shape), base)[0] == pytest.approx(
        -0.5, abs=0.1
    )
    assert np.isnan(mean_along(base, base - base.mean(axis=0))[0])


def test_rows_that_did_not_move_have_no_direction(make_rows, rng):
    rows = make_rows([2, 2], rng)
    change = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(row_cosine(rows, change, 5 * change), 1)
    np.testing.assert_allclose(row_cosine(rows, change, change[:, ::-1]), 0)
    assert np.isnan(row_cosine(rows, change, 0 * change)).all()


def test_shares_of_a_path_sum_to_one_and_leave_questions_out(make_rows, rng):
    rows = make_rows([3] * 15, rng)
    path = np.cumsum(rng.normal(size=(5, 45, 8)), axis=0)

    def measured(kept, some):
        tables = [block_features(some, one[kept]) for one in path]
        pairs = [block_cka(a, b) for a, b in pairwise(tables)]
        return path_shares(
            np.array([np.nan, *(one for one, _ in pairs)]),
            np.array([np.full(len(some.question_ids), np.nan), *(two for _, two in pairs)]),
        )

    shares, pseudo = measured(slice(None), rows)
    assert np.nansum(shares) == pytest.approx(1)
    without, _ = measured(rows.question != 5, make_rows([3] * 14, rng))
    np.testing.assert_allclose(pseudo[:, 5], 15 * shares - 14 * without, atol=1e-8)


def test_a_layer_that_never_moves_has_no_path(rng):
    still = 1 - 1e-15 * rng.random((4, 10))
    assert np.isnan(path_shares(still.mean(axis=1), still)[0]).all()
    assert distance(0.5) == pytest.approx(1)


@pytest.mark.parametrize("width", [1, 30])
def test_half_of_the_questions_give_the_cka_of_a_run_with_only_them(width, make_rows, rng):
    rows = make_rows([2, 3, 4] * 8, rng)
    x = rng.normal(size=(72, width))
    y = x + rng.normal(size=x.shape)
    one, two = block_features(rows, x), block_features(rows, y)
    assert (one.gram is None) == (width == 1)
    for half in halves(rows.question, rng):
        fewer = make_rows(np.bincount(rows.question)[half.chosen].tolist(), rng)
        tables = [block_features(fewer, table[half.chosen[rows.question]]) for table in (x, y)]
        own = half.product(one, one) * half.product(two, two)
        found = half.product(one, two) / np.sqrt(own)
        assert found == pytest.approx(block_cka(*tables)[0], abs=1e-12)


def test_random_changes_have_the_norm_and_no_common_part(make_rows, rng):
    rows = make_rows([4] * 100, rng)
    change = rng.normal(size=(400, 50)) * rng.random((400, 1))
    for common, share in ((False, 0.0), (True, 0.75)):
        drawn = random_change(change, rng, common=common)
        np.testing.assert_allclose(
            np.linalg.norm(drawn, axis=1), np.linalg.norm(change, axis=1), rtol=1e-12
        )
        assert constant_shift(rows, drawn)[0] == pytest.approx(share, abs=0.05)


def test_sums_by_question_and_label(make_rows, rng):
    rows = make_rows([2, 3], rng)
    x = rng.normal(size=(5, 4))
    np.testing.assert_allclose(question_sums(rows, x)[1], x[2:].sum(axis=0))
    right = np.flatnonzero(rows.correct)[1]
    np.testing.assert_allclose(label_sums(rows, x)[1], x[right] - x[2:].mean(axis=0))


SETTINGS = AnalysisSettings(draws=100)


@pytest.fixture(scope="module")
def switched():
    return planted_run("switch", np.random.default_rng(0), questions=40, steps=20)


@pytest.fixture(scope="module")
def found(switched):
    return movement(switched, SETTINGS)


@pytest.fixture(scope="module")
def similar(switched):
    return similarity(switched, SETTINGS)


def test_a_planted_direction_of_the_label_is_a_part_of_one_head_only(found):
    table = by_id(found.tables)["movement_parts"]
    assert column_of(table, "right_wrong", head="negative", layer="1")[0] > 0.1
    for head, layer in (("negative", "embed"), ("positive", "1")):
        low, high = (
            column_of(table, f"right_wrong_{k}", head=head, layer=layer)[0] for k in ("low", "high")
        )
        assert low <= 0.003
        assert high < 0.02
    maps = by_id(found.maps)
    assert max(v or 0 for v in maps["right_wrong.negative"].values[0]) < 0.05
    assert maps["right_wrong.negative"].values[2][-1] > 0.1
    assert len(maps["right_wrong.negative"].steps) <= 17


def test_random_changes_of_equal_norm_stand_beside_the_movement(found):
    table = by_id(found.tables)["movement_controls"]
    where = {"head": "negative", "layer": "1"}
    assert column_of(table, "phi", **where)[0] > 0.7
    assert column_of(table, "phi_random", **where)[0] == pytest.approx(0, abs=0.01)
    assert column_of(table, "phi_common", **where)[0] > 0.9
    assert column_of(table, "participation", **where)[0] < 2
    assert column_of(table, "participation_random", **where)[0] > 15
    assert column_of(table, "half", **where)[0] > 0.99
    assert abs(column_of(table, "half", head="positive", layer="1")[0]) < 0.6


def test_heads_that_move_oppositely_are_told_apart(switched):
    moved = switched.tables["residual/negative/1"]
    base = moved[0]
    tables = dict(switched.tables) | {"residual/positive/1": (2 * base - moved).astype(np.float32)}
    run = PlantedRun(
        switched.rows, 8, switched.heads, switched.layers, switched.positions, 2,
        switched.step_list, tables,
    )  # fmt: skip
    found = contrast_heads(run, ("positive", "negative"), 1, 5)
    assert found.steps[-1] == 19
    assert found.found["shift_cosine"][-1].mean() == pytest.approx(-1, abs=1e-3)
    assert found.found["label_cosine"][-1].mean() == pytest.approx(-1, abs=1e-2)
    assert found.found["change_cka"][-1].mean() == pytest.approx(1, abs=1e-3)
    other = contrast_heads(switched, ("positive", "negative"), 1, 5)
    assert np.isnan(other.found["shift_cosine"][-1]).all()
    assert other.found["change_cka"][-1].mean() == pytest.approx(0, abs=0.05)


def test_the_longest_step_is_the_planted_one_in_both_halves_and_no_other_head_has_one(similar):
    table = by_id(similar.tables)["longest_steps"]
    where = {"head": "negative", "layer": "1"}
    assert column_of(table, "to", **where)[0] in (10, 11)
    for key in ("low", "first_half", "second_half"):
        assert column_of(table, key, **where)[0] > 0.3
    for share in column_of(table, "share", head="positive"):
        assert share < 1.2 / 19


def test_facts_of_one_vector_hold_its_jump(rng, quick):
    run = planted_run("constant_vector", rng, questions=40, steps=20)
    facts = {(f.head, f.layer): f for f in similarity(run, quick).facts["constant_vector"]}
    found = facts["negative", 1]
    assert found.phi_interval[0] > 0.9
    assert found.cka_interval[0] > 0.95
    assert found.jump_interval[0] > 0.5
    assert found.jump_steps[0] in (8, 9, 10)
    still = facts["positive", 1]
    assert still.phi_interval[0] < 0.01
    assert still.jump < 0.02


def test_similarity_holds_no_whole_path(similar, monkeypatch):
    def refuse(*_):
        raise AssertionError("all steps were read at once")

    run = planted_run("switch", np.random.default_rng(0), questions=40, steps=20)
    tables = run.tables
    monkeypatch.setattr(PlantedRun, "residual", refuse)
    monkeypatch.setattr(
        PlantedRun,
        "residual_at",
        lambda _, head, step, layer, __: tables[f"residual/{head}/{layer}"][step],
    )
    monkeypatch.setattr(
        PlantedRun, "base_residual", lambda _, layer, __: tables[f"residual/positive/{layer}"][0]
    )
    found = similarity(run, SETTINGS)
    assert by_id(found.maps)["cka_base.negative"] == by_id(similar.maps)["cka_base.negative"]
    assert movement(run, SETTINGS).tables[0].rows


def test_one_head_is_not_compared_and_says_so(rng, quick):
    run = planted_run("switch", rng, questions=20, steps=9, heads=("negative",))
    found = movement(run, quick)
    assert found.warnings == ("only one head was given: heads were not compared",)
    assert "shift_cosine" not in by_id(found.maps)
