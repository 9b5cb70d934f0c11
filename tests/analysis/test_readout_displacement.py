"""Displacement in the metric of the unembedding, beside changes of equal norm."""

from dataclasses import replace

import numpy as np
import pytest

from critical_phase.analysis import AnalysisSettings, planted_run
from critical_phase.analysis.states.displacement_readout import (
    ratio_of_means,
    read_out_path,
    rows_read,
)
from critical_phase.analysis.states.read_out import ReadOut
from critical_phase.analysis.states.readout_displacement import readout_displacement
from critical_phase.errors import FitError, ShapeError

WIDTH, TOKENS = 24, 300
QUICK = AnalysisSettings(draws=100)


def read_out_of(unembedding, scale, *, centred=False):
    rows = unembedding * scale
    return ReadOut(np.cov(rows.T, bias=True), 1e-6, centred, len(rows))


@pytest.fixture
def unembedding(rng):
    return rng.normal(0, 1, (TOKENS, WIDTH)) + rng.normal(0, 3, WIDTH)


@pytest.fixture
def run(rng):
    return planted_run("switch", rng, questions=20, steps=9, width=WIDTH)


def norm(states, scale, *, centred, epsilon=1e-6):
    states = states - states.mean(axis=1, keepdims=True) if centred else states
    return scale * states / np.sqrt((states**2).mean(axis=1, keepdims=True) + epsilon)


@pytest.mark.parametrize("centred", [False, True])
def test_the_spread_is_that_of_the_logits_themselves(unembedding, rng, centred):
    scale, bias = rng.uniform(0.5, 2, WIDTH), rng.normal(0, 1, TOKENS)
    read_out = read_out_of(unembedding, scale, centred=centred)
    before, after = rng.normal(0, 1, (2, 30, WIDTH))
    logits = [norm(s, scale, centred=centred) @ unembedding.T + bias for s in (before, after)]
    change = read_out.normalised(after) - read_out.normalised(before)
    np.testing.assert_allclose(
        read_out.spread(change), (logits[1] - logits[0]).std(axis=1), rtol=1e-9
    )


def test_wide_states_are_read_in_float32_to_its_precision(rng):
    width = 1030
    unembedding, states = rng.normal(0, 1, (200, width)), rng.normal(0, 1, (5, width))
    read_out = read_out_of(unembedding, np.ones(width))
    np.testing.assert_allclose(
        read_out.spread(states), (states @ unembedding.T).std(axis=1), rtol=1e-4
    )


def test_a_constant_added_to_all_logits_is_not_seen(rng):
    """A direction that every token of the vocabulary has alike moves no likelihood."""
    common = np.eye(WIDTH)[0]
    unembedding = rng.normal(0, 1, (TOKENS, WIDTH))
    unembedding[:, 0] = 5.0
    read_out = read_out_of(unembedding, np.ones(WIDTH))
    assert read_out.spread(common[None]) == pytest.approx(0, abs=1e-9)
    assert read_out.spread(np.eye(WIDTH)[1:2])[0] > 0.8


def planted(run, direction, size=4.0, layer=0, head="negative"):
    """Move all states of a layer along one direction, more at every step."""
    path = run.tables[f"residual/{head}/{layer}"].astype(np.float64)
    still = np.repeat(path[:1], len(path), axis=0)
    grow = np.linspace(0, size, len(path))[:, None, None]
    return replace(run, tables=run.tables | {f"residual/{head}/{layer}": still + grow * direction})


def test_movement_where_the_unembedding_looks_is_above_random_and_elsewhere_below(run, rng):
    flat = np.r_[np.full(WIDTH // 2, 3.0), np.full(WIDTH // 2, 0.05)]
    read_out = read_out_of(rng.normal(0, 1, (TOKENS, WIDTH)) * flat, np.ones(WIDTH))
    for at, seen in ((2, True), (WIDTH - 2, False)):
        one = planted(run, np.eye(WIDTH)[at])
        path = read_out_path(one, read_out, "negative", 0, "answer_end", 0)
        last = path.over_random[-1].mean()
        assert (last > 1.2) if seen else (last < 0.9)


def test_random_movement_is_read_out_as_random_movement_is(run, unembedding, rng):
    read_out = read_out_of(unembedding, np.ones(WIDTH))
    name = "residual/negative/0"
    noise = rng.normal(0, 1, run.tables[name].shape)
    noise[0] = 0
    one = replace(run, tables=run.tables | {name: run.tables[name][:1] + noise})
    path = read_out_path(one, read_out, "negative", 0, "answer_end", 0)
    assert path.over_random.mean() == pytest.approx(1.0, abs=0.05)


def test_movement_towards_another_question_is_the_other_control(run, unembedding):
    read_out = read_out_of(unembedding, np.ones(WIDTH))
    rows, name = run.rows, "residual/negative/0"
    base = run.tables[name][0].astype(np.float64)
    other = base[np.searchsorted(rows.question, (rows.question + 1) % 20)]
    path = np.stack([base + share * (other - base) for share in np.linspace(0, 1, 9)])
    one = replace(run, tables=run.tables | {name: path})
    found = read_out_path(one, read_out, "negative", 0, "answer_end", 0)
    np.testing.assert_allclose(found.over_states.mean(axis=1), 1.0, rtol=1e-9)


def test_before_the_answer_one_row_of_a_question_is_read(run):
    taken, question = rows_read(run.rows, "question_end")
    assert taken.tolist() == list(range(0, 80, 4))
    assert question.tolist() == list(range(20))
    assert rows_read(run.rows, "answer_end")[0].size == 80


def test_a_ratio_has_jackknife_values_whose_spread_is_its_error(rng):
    above, below = rng.gamma(4, 1, (2, 3000))
    found = ratio_of_means(above, below)
    assert found.mean() == pytest.approx(above.mean() / below.mean(), rel=1e-3)
    delta = above - above.mean() / below.mean() * below
    assert found.std() == pytest.approx(delta.std() / below.mean(), rel=0.02)
    assert np.isnan(ratio_of_means(above, np.zeros(3000))).all()


def test_the_measure_maps_layers_and_names_both_controls(run, unembedding):
    one = replace(run, unembedding=read_out_of(unembedding, np.ones(WIDTH)))
    found = readout_displacement(one, QUICK)
    ids = {m.id for m in found.maps}
    assert {"readout_question_end.negative", "readout_random_answer_end.positive"} <= ids
    shown = next(m for m in found.maps if m.id == "readout_states_answer_end.negative")
    assert shown.low is not None
    assert "another question" in shown.control
    table = found.tables[0]
    for row in table.rows:
        for value, band in zip(row[4::2], row[5::2], strict=True):
            assert value is None or band[0] <= value <= band[1]
    assert found.settings["norm"] == "RMSNorm"


def test_states_that_did_not_move_have_no_ratio(run, unembedding):
    one = planted(run, np.zeros(WIDTH))
    one = replace(one, unembedding=read_out_of(unembedding, np.ones(WIDTH)))
    found = readout_displacement(one, QUICK)
    at = next(r for r in found.tables[0].rows if r[:3] == ["negative", "answer_end", "0"])
    assert (at[4], at[8], at[10]) == (0.0, None, None)


def test_without_a_read_out_nothing_is_computed_and_why_is_said(run):
    found = readout_displacement(run, QUICK)
    assert found.maps == found.tables == ()
    assert found.warnings == ("no unembedding was planted: not computed",)


def test_what_is_no_number_or_no_metric_is_refused(run, unembedding):
    read_out = read_out_of(unembedding, np.ones(WIDTH))
    path = run.tables["residual/negative/0"].astype(np.float64)
    path[3, 5, 1] = np.nan
    one = replace(run, tables=run.tables | {"residual/negative/0": path})
    with pytest.raises(FitError, match="layer 0 at step 3"):
        read_out_path(one, read_out, "negative", 0, "answer_end", 0)
    with pytest.raises(ShapeError, match="square and finite"):
        replace(read_out, gram=np.full((3, 3), np.nan))
