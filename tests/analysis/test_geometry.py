"""Procrustes angles, shared neighbours and numbers of directions."""

import numpy as np
import pytest

from critical_phase.analysis import planted_run
from critical_phase.analysis.states.geometry import geometry
from critical_phase.analysis.states.neighbours import mutual_neighbours
from critical_phase.analysis.states.procrustes import permuted_angle, procrustes_angle
from critical_phase.analysis.states.row_subset import some_questions
from critical_phase.analysis.states.spectrum import spectrum
from critical_phase.errors import ShapeError


def cell(table, key, **where):
    keys = [one["key"] for one in table.columns]
    for row in table.rows:
        if all(row[keys.index(k)] == v for k, v in where.items()):
            return row[keys.index(key)]
    raise KeyError(where)


def test_rotation_scale_and_shift_have_no_angle(rng):
    x = rng.normal(size=(100, 20))
    turn = np.linalg.qr(rng.normal(size=(20, 20)))[0]
    assert procrustes_angle(x, 3 * x @ turn + 5) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("p", "value"), [(20, 1.179), (200, 0.497), (2000, 0.161)])
def test_angles_of_noise_shrink_with_width_as_those_of_permuted_rows_do(p, value, rng):
    x, y = rng.normal(size=(2, 100, p))
    assert procrustes_angle(x, y) == pytest.approx(value, abs=0.05)
    assert permuted_angle(x, x, rng) == pytest.approx(value, abs=0.05)


def test_the_angle_is_a_metric(rng):
    x, y, z = rng.normal(size=(3, 30, 50))
    x, y, z = x, x + y, x + 2 * z
    assert procrustes_angle(x, y) == pytest.approx(procrustes_angle(y, x), abs=1e-12)
    assert procrustes_angle(x, z) <= procrustes_angle(x, y) + procrustes_angle(y, z)


def test_neighbours_of_noise_agree_by_chance(make_rows, rng):
    rows = make_rows([4] * 125, rng)
    found = mutual_neighbours(rows, *rng.normal(size=(2, 500, 50)))
    assert found.chance == pytest.approx(10 / 496)
    assert found.share == pytest.approx(found.chance, abs=0.004)
    assert found.share == pytest.approx(found.per_question.mean())


def test_siblings_are_no_neighbours(make_rows, rng):
    rows = make_rows([4] * 60, rng)
    shared = 100 * rng.normal(size=(60, 20))[rows.question]
    x, y = shared + rng.normal(size=(2, 240, 20))
    far = rng.permutation(60)[rows.question]
    same = mutual_neighbours(rows, x, y, 3).share
    none = mutual_neighbours(rows, x, y[np.argsort(far, kind="stable")], 3).share
    assert same > 0.5 > 0.1 > none
    alone = mutual_neighbours(rows, rng.normal(size=(240, 20)) + 1e-9 * x, y, 3)
    assert alone.share == pytest.approx(alone.chance, abs=0.02)


def test_scaling_and_the_order_of_dimensions_change_no_neighbour(make_rows, rng):
    rows = make_rows([3] * 30, rng)
    x = rng.normal(size=(90, 12))
    assert mutual_neighbours(rows, x, 8 * x[:, ::-1], 5).share == 1


def test_more_neighbours_than_rows_of_other_questions_are_refused(make_rows, rng):
    rows = make_rows([2, 2, 2], rng)
    x = rng.normal(size=(6, 4))
    with pytest.raises(ShapeError, match="asked for 5 neighbours, but only 4 rows"):
        mutual_neighbours(rows, x, x, 5)


def test_directions_are_counted(rng):
    basis = np.linalg.qr(rng.normal(size=(400, 8)) - 0.0)[0]
    basis -= basis.mean(axis=0)
    even = np.linalg.qr(basis)[0] @ rng.permutation(np.eye(8, 30))
    assert spectrum(even).participation == pytest.approx(8, abs=1e-9)
    assert spectrum(even).effective_rank == pytest.approx(8, abs=1e-9)
    assert spectrum(even).top(2) == pytest.approx(0.25)
    assert spectrum(np.outer(rng.normal(size=50), np.ones(5))).participation == pytest.approx(1)
    assert np.isnan(spectrum(np.ones((5, 3))).participation)


def test_wide_and_long_tables_have_the_same_spectrum(rng):
    x = rng.normal(size=(20, 50))
    found, turned = spectrum(x), spectrum(np.vstack([x, x, x]))
    assert found.participation == pytest.approx(turned.participation)


def test_a_subset_keeps_whole_questions_evenly_spread(make_rows, rng):
    rows = make_rows([4] * 100, rng)
    some, kept = some_questions(rows, 120)
    assert kept.size == 120
    assert np.array_equal(some.question, np.repeat(np.arange(30), 4))
    assert some.question_ids[0] == "q0"
    assert some.question_ids[-1] == "q99"
    assert np.array_equal(some.correct, rows.correct[kept])
    whole, every = some_questions(rows, 400)
    assert whole is rows
    assert every.size == 400


def test_a_constant_vector_leaves_every_form_at_one_and_a_new_feature_does_not(rng, quick):
    found = {
        kind: geometry(planted_run(kind, rng, questions=40, steps=10), quick).tables[0]
        for kind in ("constant_vector", "new_feature")
    }
    where = {"head": "negative", "layer": "1"}
    assert cell(found["constant_vector"], "within", **where) > 0.95
    assert cell(found["constant_vector"], "angle", **where) < 0.2
    assert cell(found["new_feature"], "within", **where) < 0.8
    assert cell(found["new_feature"], "within", head="positive", layer="1") > 0.95
    assert cell(found["new_feature"], "angle_permuted", **where) > 1
    low, high = (cell(found["new_feature"], f"within_{k}", **where) for k in ("low", "high"))
    assert low < cell(found["new_feature"], "within", **where) < high


def test_layers_are_closest_to_themselves_unless_one_took_over_another(rng, quick):
    run = planted_run("flat", rng, questions=30, steps=6)
    run.tables["residual/negative/1"][-1] = run.base_residual(0, "answer_end")
    table = next(t for t in geometry(run, quick).tables if t.id == "layers.negative")
    assert [row[1] for row in table.rows] == ["embed", "0", "0"]
    assert table.rows[2][2] == pytest.approx(1)


def test_without_hidden_states_nothing_is_computed(rng, quick):
    found = geometry(planted_run("flat", rng, width=0, steps=9), quick)
    assert found.tables == ()
    assert found.warnings == ("no hidden states were given: not computed",)
