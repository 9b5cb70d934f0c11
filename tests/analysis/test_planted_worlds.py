import numpy as np
import pytest

from critical_phase.analysis import RunArrays
from critical_phase.analysis.inputs import check_rows
from critical_phase.analysis.judging.hypotheses import ORDER
from critical_phase.analysis.jumps.clock import path_length
from critical_phase.analysis.planted.planted_causes import interventions_of
from critical_phase.analysis.planted.planted_runs import (
    ATTENTION_HEADS,
    BLOCKS,
    INNER,
    LATE,
    NOISE,
    ROUTED,
    STEPS,
)
from critical_phase.analysis.planted.planted_scores import burst, logistic
from critical_phase.analysis.planted.planted_truth import NO_RUN
from critical_phase.analysis.planted.planted_worlds import PLANTED_WORLDS
from critical_phase.analysis.scores.crossing import crossings
from critical_phase.analysis.scores.curves import combine, top_hits
from critical_phase.analysis.scores.margin import margins
from critical_phase.analysis.scores.noise_floor import direction_agreement
from critical_phase.analysis.states.cka import block_cka, block_features
from critical_phase.analysis.states.displacement import constant_shift


@pytest.fixture(scope="module")
def planted():
    return {name: w.make(np.random.default_rng(3)) for name, w in PLANTED_WORLDS.items()}


def margin_of(run):
    mode = "likra" if "positive" in run.heads else "base_likra"
    scores = combine(run, mode, 1.0)
    return scores.steps[1:], margins(run.rows, scores.values[1:])


@pytest.mark.parametrize("name", PLANTED_WORLDS)
def test_every_world_is_a_run_with_a_second_scoring_a_log_and_a_path(name, planted):
    run = planted[name].run
    assert isinstance(run, RunArrays)
    check_rows(run.rows)
    assert run.context_scores("again", "negative").shape == run.scores("negative").shape
    assert len(run.training_log("negative")["lr"]) == STEPS - 1
    assert path_length(run, "negative")[1][-1] > 0
    assert np.array_equal(run.scores("negative")[0], run.base_scores())


def test_controls_of_a_world_reach_what_is_planted_and_come_after_an_early_jump(planted):
    """Share of the margin's rise that the control's margin makes, at the end."""
    shares = {"prior_learnt": 1.0, "content_learnt": 0.0, "half_prior": 0.5,
              "catapult": 0.0, "harmless_spike": 1.0, "slower_alone": 0.0}  # fmt: skip
    assert {name for name, one in planted.items() if one.run.controls} == set(shares)
    for name, share in shares.items():
        run, control = planted[name].run, planted[name].run.controls[0]
        _, own = margin_of(run)
        change = run.tables["scores/positive"] - control.tables["negative"]
        other = margins(run.rows, change[1:])
        rise = own[-5:].mean() - own[:3].mean()
        found = (other[-5:].mean() - other[:3].mean()) / rise
        assert found == pytest.approx(share, abs=0.12)
        assert planted[name].tau < 0.36 * (STEPS - 1)


def test_the_gradient_of_unstable_worlds_spikes_at_the_jump(planted):
    for name in ("catapult", "harmless_spike"):
        norm = planted[name].run.training_log("negative")["gradient_norm"]
        assert np.argmax(norm) + 1 == round(planted[name].tau)
    assert planted["slower_alone"].run.training_log("negative")["gradient_norm"].max() < 1.5


@pytest.mark.parametrize("name", PLANTED_WORLDS)
def test_worlds_say_what_they_hold_and_allow_no_verdict_without_its_run(name):
    world = PLANTED_WORLDS[name]
    assert world.name == name
    assert set(world.answers) <= set(ORDER)
    run = world.make(np.random.default_rng(0)).run
    if not run.controls:
        assert not any("supported" in world.acceptable(h) for h in NO_RUN)
    assert world.named is None or "supported" in world.acceptable(world.named)


def test_equal_seeds_make_equal_worlds():
    for world in PLANTED_WORLDS.values():
        one, two = (world.make(np.random.default_rng(5)) for _ in range(2))
        assert one.tau == two.tau
        for name, table in one.run.tables.items():
            assert np.array_equal(table, two.run.tables[name])


@pytest.mark.parametrize("name", [n for n, w in PLANTED_WORLDS.items() if w.jump])
def test_margins_are_half_way_at_the_planted_place(name, planted):
    steps, margin = margin_of(planted[name].run)
    mean = margin.mean(axis=1)
    level = (mean[:5].mean() + mean[-5:].mean()) / 2
    found = np.interp(level, mean[4:-4], steps[4:-4])
    assert found == pytest.approx(planted[name].margin_tau, abs=0.6)


def test_half_of_the_questions_cross_at_the_planted_place(planted):
    steps, margin = margin_of(planted["switch"].run)
    right = (margin > 0).mean(axis=1)
    assert np.interp(planted["switch"].tau, steps, right) == pytest.approx(0.5, abs=0.15)
    assert right[0] < 0.3 < 0.7 < right[-1]


def test_mirage_margins_drift_along_a_line_while_accuracy_bends(planted):
    steps, margin = margin_of(planted["mirage"].run)
    fit = np.polyfit(steps, margin.mean(axis=1), 1)
    left = margin.mean(axis=1) - np.polyval(fit, steps)
    assert np.ptp(left) < 0.15 * np.ptp(margin.mean(axis=1))
    right = (margin > 0).mean(axis=1)
    assert right[:5].max() < 0.05
    assert right[-5:].min() > 0.95


@pytest.mark.parametrize("name", ["scale", "scale_and_mirage"])
def test_scaled_worlds_keep_one_direction(name, planted):
    run = planted[name].run
    agreement = direction_agreement(run.rows, run.scores("negative") - run.base_scores())
    assert agreement[1:].mean(axis=1).min() > 0.95


def test_scores_of_the_noise_floor_differ_by_its_noise_and_not_in_the_fine_scoring(planted):
    run = planted["noise_floor"].run
    again = run.context_scores("again", "negative")
    fine = run.context_scores("again-float32", "negative")
    assert (run.scores("negative") - again)[1:].std() / np.sqrt(2) == pytest.approx(NOISE, rel=0.05)
    assert (run.scores("negative") - fine)[1:].std() == pytest.approx(NOISE, rel=0.05)
    hits = top_hits(run.rows, run.context_base_scores("again-float32") - fine).value.mean(axis=1)
    assert hits[1:].min() > 0.6  # the direction is right from the start: .729 on average


def test_scheduled_margins_are_linear_in_the_summed_rate_and_in_the_path(planted):
    run, tau = planted["schedule"].run, planted["schedule"].tau
    steps, margin = margin_of(run)
    rate = run.training_log("negative")["lr"]
    summed = np.concatenate(([0], np.cumsum(rate)))[steps]
    assert np.corrcoef(summed, margin.mean(axis=1))[0, 1] > 0.97
    assert np.corrcoef(path_length(run, "negative")[1][steps], summed)[0, 1] > 0.99
    assert np.flatnonzero(rate == rate.max()).mean() + 0.5 == tau


def test_a_burst_is_where_it_was_asked_for():
    rate, total = burst(10, 4, length=2, times=5.0)
    assert np.flatnonzero(rate > 2e-4).tolist() == [3, 4]  # updates 4 and 5
    assert total[[0, -1]].tolist() == [0.0, 1.0]
    assert np.diff(total)[3] == pytest.approx(5 * np.diff(total)[0])


def test_a_logistic_takes_its_width_from_a_tenth_to_nine_tenths():
    low, high = logistic(np.array([7.0, 13.0]), 10.0, 6.0)
    assert (low, high) == (pytest.approx(0.1), pytest.approx(0.9))


def test_a_constant_vector_moves_all_rows_alike_and_leaves_their_arrangement(planted):
    run = planted["constant_vector"].run
    for layer in INNER:
        first, last = (run.residual("negative", layer, "answer_end")[t] for t in (0, -1))
        change = np.asarray(last, dtype=np.float64) - first
        assert constant_shift(run.rows, change)[0] > 0.9
        features = [block_features(run.rows, np.asarray(x, np.float64)) for x in (first, last)]
        assert block_cka(*features)[0] > 0.95
    still = run.residual("negative", -1, "answer_end").astype(np.float64)
    assert constant_shift(run.rows, still[-1] - still[0])[0] < 0.2


def label_contrast(run, layer, step):
    states = run.residual("negative", layer, "answer_end")[step].astype(np.float64)
    correct = run.rows.correct
    return float(np.linalg.norm(states[correct].mean(axis=0) - states[~correct].mean(axis=0)))


def test_a_new_feature_is_absent_before_and_below_its_layer(planted):
    run = planted["new_feature"].run
    assert all(label_contrast(run, layer, -1) > 2.5 for layer in LATE)
    assert all(label_contrast(run, layer, 0) < 1.5 for layer in LATE)
    assert all(label_contrast(run, layer, -1) < 1.5 for layer in (-1, 0))


def test_an_old_feature_is_there_from_the_start(planted):
    run = planted["readout"].run
    for layer in INNER:
        assert label_contrast(run, layer, 0) > 1.8
        assert label_contrast(run, layer, -1) == pytest.approx(
            label_contrast(run, layer, 0), rel=0.2
        )


def test_only_the_routed_attention_heads_move(planted):
    run = planted["rerouting"].run
    for block in BLOCKS:
        rows = run.attention_row("negative", block)
        moved = (rows[-1, :, :, 1] - rows[0, :, :, 1]).mean(axis=0)
        for head in range(ATTENTION_HEADS):
            assert (moved[head] > 0.3) == ((block, head) in ROUTED)


def test_questions_of_heterogeneous_worlds_switch_broadly_or_by_topic(planted):
    steps, margin = margin_of(planted["heterogeneity"].run)
    broad = crossings(margin, steps, np.random.default_rng(0))
    assert broad.spread > 0.3 * (STEPS - 1)
    run = planted["heterogeneity_topics"].run
    steps, margin = margin_of(run)
    groups = np.array(run.rows.groups)
    parts = [
        crossings(margin[:, groups == g], steps, np.random.default_rng(0)) for g in set(groups)
    ]
    assert max(part.spread for part in parts) < 4
    assert np.ptp([part.median for part in parts]) > 0.5 * (STEPS - 1)


def test_interventions_bring_what_is_planted_and_controls_nothing(rng):
    found = {one.plan: one for one in interventions_of({"prefix_graft": 0.9}, rng)}
    assert found["prefix_graft"].share == pytest.approx(0.9, abs=0.2)
    assert found["prefix_graft"].beats_control
    for one in found.values():
        assert one.control_share == pytest.approx(0.0, abs=0.2)
        assert one.interval[0] <= one.share <= one.interval[1]


def test_intervals_of_interventions_cover_the_planted_share():
    held = []
    for seed in range(200):
        one = interventions_of({"prefix_graft": 0.8}, np.random.default_rng(seed))[2]
        assert one.plan == "prefix_graft"
        held.append(one.interval[0] <= 0.8 <= one.interval[1])
    assert 0.88 <= np.mean(held) <= 0.99
