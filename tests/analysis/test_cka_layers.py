"""CKA of every two layers at a step: equal to the pair by itself, and 0 where nothing is shared."""

from dataclasses import replace

import numpy as np
import pytest

from critical_phase.analysis import AnalysisSettings, planted_run
from critical_phase.analysis.states import cka_layers
from critical_phase.analysis.states.cka import block_cka, block_features
from critical_phase.analysis.states.cka_layers import layer_pairs, layers_map
from critical_phase.analysis.states.similarity import similarity

STEPS = 12


@pytest.fixture
def run():
    return planted_run("switch", np.random.default_rng(0), steps=STEPS, questions=30, width=8)


def test_every_pair_of_layers_is_named_once():
    assert layer_pairs(["embed", "0", "1"]) == [
        "embed and embed", "0 and embed", "0 and 0", "1 and embed", "1 and 0", "1 and 1"
    ]  # fmt: skip


def test_values_are_those_of_the_two_layers_by_themselves(run):
    found = layers_map(run, "negative", 0)
    at = found.row_labels.index("1 and embed")
    for step in (0, 7, STEPS - 1):
        one, two = (block_features(run.rows, run.residual_at("negative", step, k, "answer_end"))
                    for k in (1, -1))  # fmt: skip
        assert found.values[at][step] == pytest.approx(block_cka(one, two)[0], abs=1e-10)
    for label, values in zip(found.row_labels, found.values, strict=True):
        one, two = label.split(" and ")
        assert (one == two) == (values == [1.0] * STEPS)
    assert found.n == 30
    assert "Taken:" not in found.caption


def test_a_layer_that_repeats_another_is_like_it_and_its_dealt_questions_are_not(run):
    run.tables["residual/negative/1"][:] = 3 * run.tables["residual/negative/0"][..., ::-1] + 2
    found = layers_map(run, "negative", 0)
    assert found.values[found.row_labels.index("1 and 0")] == pytest.approx([1.0] * STEPS)
    low, high = (float(found.control.split(word)[1].split(" ")[0]) for word in (" from ", " to "))
    assert -0.3 < low < high < 0.3


def test_layers_without_anything_in_common_have_none(rng):
    run = planted_run("switch", rng, steps=2, questions=150, width=8)
    for layer in run.layers:
        table = run.tables[f"residual/negative/{layer}"]
        table[:] = rng.normal(size=table.shape)
    found = layers_map(run, "negative", 0)
    apart = [v for label, v in zip(found.row_labels, found.values, strict=True)
             if len(set(label.split(" and "))) == 2]  # fmt: skip
    assert np.abs(apart).max() < 0.06


def test_what_is_left_out_is_said(run, monkeypatch):
    monkeypatch.setattr(cka_layers, "BUDGET", 0.0)
    monkeypatch.setattr(cka_layers, "MOST_ROWS", 60)
    found = layers_map(run, "negative", 0)
    assert len(found.steps) == cka_layers.FEWEST
    assert found.steps[0] == 0
    assert found.steps[-1] == STEPS - 1
    assert "9 of 12 checkpoints, evenly spread: the nearest is shown" in found.caption
    assert f"{found.n} of 30 questions" in found.caption
    assert found.n < 30


def test_a_single_layer_has_no_map_and_the_measure_has_one_of_each_head(run):
    result = similarity(run, AnalysisSettings(draws=20))
    maps = [one for one in result.maps if one.row_name == "pair"]
    assert [one.id for one in maps] == [f"cka_layers.{head}" for head in run.heads]
    alone = layers_map(replace(run, layers=(0,)), "negative", 0)
    assert alone is None
