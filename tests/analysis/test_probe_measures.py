"""Measures on probes against worlds whose truth is known."""

import numpy as np
import pytest

from critical_phase.analysis import AnalysisSettings, planted_run
from critical_phase.analysis.probing.linear_probe import PENALTIES
from critical_phase.analysis.probing.linear_probes import linear_probes
from critical_phase.analysis.probing.probe_choice import choose, confirmatory, log_spaced
from critical_phase.analysis.probing.probe_confirmation import METHODS, probe_confirmation
from critical_phase.analysis.probing.probe_directions import cross_cosines
from critical_phase.analysis.probing.probe_rise import first_riser
from critical_phase.analysis.probing.readout_gap import readout_gap
from critical_phase.analysis.probing.step_transfer import step_transfer
from critical_phase.analysis.series import question_series

SETTINGS = AnalysisSettings(draws=200, permutations=40, smooth_draws=100)


def analysed(kind):
    run = planted_run(
        kind, np.random.default_rng(0), questions=100, steps=25, blocks=1, heads=("negative",)
    )
    done = {"linear_probes": linear_probes(run, SETTINGS)}
    for measure in (readout_gap, step_transfer):
        done[measure.__name__] = measure(run, SETTINGS, done)
    return run, done


@pytest.fixture(scope="module")
def readout():
    return analysed("readout")


@pytest.fixture(scope="module")
def new_feature():
    return analysed("new_feature")


def test_a_feature_that_was_there_is_known_before_it_is_said(readout):
    found = readout[1]["readout_gap"].facts
    gap = found["readout_gap"]["negative", "base_likra"]
    assert gap.knows_first is True
    assert gap.before_interval[0] > 0
    assert found["probe_rise"]["negative"].first_layer is None


def test_a_feature_that_forms_is_not_known_before_it_is_said(new_feature):
    found = new_feature[1]["readout_gap"].facts
    gap = found["readout_gap"]["negative", "base_likra"]
    assert gap.knows_first is False
    assert gap.layer >= 0
    assert gap.lead == pytest.approx(0, abs=1)
    assert gap.lead_interval[0] < 0 < gap.lead_interval[1]
    up = found["probe_rise"]["negative"]
    assert up.flat is False
    assert up.first_layer == 0


def test_a_head_that_learns_nothing_gets_no_answer(rng):
    run = planted_run("flat", rng, questions=30, steps=10, blocks=1, heads=("positive",))
    gap = readout_gap(run, SETTINGS).facts["readout_gap"]["positive", "sft"]
    assert gap.knows_first is None
    assert "do not change" in gap.why


def test_the_probe_of_the_base_reads_the_end_only_where_the_feature_was_there(readout, new_feature):
    old = readout[1]["step_transfer"].facts["step_transfer"]["negative"]
    new = new_feature[1]["step_transfer"].facts["step_transfer"]["negative"]
    assert old.loss_interval[0] < 0.05
    assert old.pairs[0, -1] > old.chance
    assert old.turn.corrected > 0.9
    assert old.carries is True
    assert new.pairs[-1, -1] > 0.9
    assert new.loss_interval[0] > 0
    assert new.carries is False


def test_series_of_the_gap_are_ranked_once_for_every_head(readout):
    names = [s.quantity for s in readout[1]["readout_gap"].series]
    assert len(names) == len(set(names))
    assert {"probe_pairs.negative", "readout_gap.negative.base_likra"} <= set(names)


def test_kinds_of_probe_agree_where_something_is_planted(readout):
    run, done = readout
    rows = [one for one in probe_confirmation(run, SETTINGS, done).facts["confirmed"]
            if one.head == "negative"]  # fmt: skip
    assert [one.method for one in rows[:4]] == list(METHODS)
    assert {one.step for one in rows} == {0, 24}
    pairs = [one.pairs for one in rows]
    assert max(pairs) - min(pairs) < 0.15
    assert all(one.pairs_interval[0] > 0.5 for one in rows)
    assert all(one.compression > 1.05 for one in rows if one.compression is not None)
    assert all(one.p < 0.05 for one in rows if one.p is not None)


def test_layers_are_chosen_by_what_they_read_best_and_not_by_noise_that_stays():
    still = np.full((8, len(PENALTIES)), 0.6)
    late = np.full((8, len(PENALTIES)), 0.45)
    late[6:, 2] = 0.9
    chosen = choose({-1: still, 3: late})
    assert (chosen.layer, chosen.penalty, chosen.level) == (3, PENALTIES[2], pytest.approx(0.9))
    assert choose({}) is None


def test_steps_are_few_and_keep_both_ends():
    steps = np.arange(200)
    at = log_spaced(steps)
    assert at[0] == 0
    assert at[-1] == 199
    assert len(at) <= 17
    assert log_spaced(np.arange(5)) == [0, 1, 2, 3, 4]


def test_questions_that_report_are_those_with_odd_numbers():
    assert confirmatory(5).tolist() == [False, True, False, True, False]


def test_probes_of_noise_do_not_agree_with_themselves_across_halves(make_rows, rng):
    rows = make_rows([4] * 60, rng)
    noise, signal = rng.normal(size=(2, 240, 10))
    signal[:, 0] += 2 * rows.correct
    table = cross_cosines(rows, [noise, signal], 0.3, rng)
    assert abs(table[0, 0]) < 0.5
    assert table[1, 1] > 0.7
    np.testing.assert_allclose(table, table.T)


def test_the_first_layer_that_rises_holds_against_all_layers(rng):
    steps, weights = np.array([0, 1]), rng.multinomial(80, np.full(80, 1 / 80), size=300) / 80
    flat = rng.integers(0, 2, (2, 80)).astype(float)
    up = np.stack([np.zeros(80), np.ones(80)])
    layers = [
        question_series("probe_top1.x", "", "", "representation", steps, values, layer=layer)
        for layer, values in ((0, flat), (1, up), (2, up))
    ]
    assert first_riser(layers, weights) == 1
    assert first_riser(layers[:1], weights) is None
    assert first_riser([], weights) is None


@pytest.mark.parametrize("measure", [readout_gap, step_transfer, probe_confirmation])
def test_without_hidden_states_a_measure_says_so(measure, rng):
    run = planted_run("flat", rng, questions=20, steps=9, width=0)
    result = measure(run, SETTINGS)
    assert "not computed" in result.warnings[0]
    assert not result.tables
