from dataclasses import replace

import numpy as np
import pytest

from critical_phase.analysis import AnalysisSettings, analyze
from critical_phase.analysis.inference.bootstrap import question_weights
from critical_phase.analysis.planted.planted_controls import control_of, with_prior, with_spike
from critical_phase.analysis.planted.planted_runs import switch
from critical_phase.analysis.planted.planted_truth import EVERY
from critical_phase.analysis.scores.control_match import Course, beside
from critical_phase.analysis.scores.curves import combine, top_hits
from critical_phase.analysis.scores.reached import reached
from critical_phase.analysis.scores.surface_removed import surface_features, without_surface

QUICK = AnalysisSettings(
    draws=200, permutations=40, smooth_draws=100, modes=("likra", "sft", "base_likra")
)
MEASURES = (*EVERY, "baselines", "instability", "control_runs")


@pytest.fixture(scope="module")
def world():
    """All margins switch together; nothing says why."""
    return switch(np.random.default_rng(8))


def controls(run, seed=5, **shares):
    rng = np.random.default_rng(seed)
    return tuple(control_of(run, kind, share, rng) for kind, share in shares.items())


def settled(run, *given, measures=MEASURES):
    found = analyze(replace(run, controls=given), QUICK, measures=measures)
    assert found.failed == ()
    return found, {one["hypothesis"]: one for one in found.findings["verdicts"]}


def said(verdict):
    return " ".join(verdict["evidence"])


def test_irrelevant_negatives_that_stay_behind_exclude_the_prior(world):
    _, verdicts = settled(world.run, *controls(world.run, irrelevant=0.0))
    assert verdicts["H2"]["verdict"] == "excluded"
    assert verdicts["H2"]["interval"][1] < 0.3
    assert "intervals are over questions" in said(verdicts["H2"])
    assert verdicts["H8"]["verdict"] == "not tested"


def test_irrelevant_negatives_that_reach_it_support_the_prior_where_changes_follow_it(world):
    run = with_prior(world.run, np.random.default_rng(1))
    given = controls(run, irrelevant=1.0, right_answers=0.0)
    _, verdicts = settled(run, *given)
    assert verdicts["H2"]["verdict"] == "supported"
    assert verdicts["H2"]["interval"][0] > 0.8
    assert "says nothing of the prior" in said(verdicts["H2"])


@pytest.mark.parametrize(
    ("prior", "given", "why"),
    [
        (False, {"irrelevant": 1.0}, "was not measured"),
        (True, {"irrelevant": 1.0, "unrelated": 1.0}, "texts from elsewhere reach it too"),
        (False, {"irrelevant": 0.5}, "neither clearly have the gain nor clearly lack it"),
        (False, {"right_answers": 0.0}, "decide nothing by not reaching the gain"),
        (False, {"unrelated": 0.0}, "decide nothing by not reaching the gain"),
        (False, {"right_answers": 1.0}, "negatives need not be wrong"),
        (False, {"irrelevant": 0.0, "right_answers": 1.0}, "the controls disagree"),
    ],
)
def test_anything_between_stays_open_and_says_why(world, prior, given, why):
    run = with_prior(world.run, np.random.default_rng(1)) if prior else world.run
    measures = ("baselines", "control_runs")
    _, verdicts = settled(run, *controls(run, **given), measures=measures)
    assert verdicts["H2"]["verdict"] == "not separable"
    assert why in said(verdicts["H2"])


def test_a_prior_that_changes_do_not_follow_is_not_supported(world):
    """Scores of answers alone that have nothing to do with what the head learned."""
    run = with_prior(world.run, np.random.default_rng(1), noise=5.0)
    _, verdicts = settled(run, *controls(run, irrelevant=1.0))
    assert verdicts["H2"]["verdict"] == "not separable"
    assert "do not clearly follow" in said(verdicts["H2"])
    assert "PMI_DC of the base does not give most" in said(verdicts["H2"])


def test_a_gain_that_length_explains_cannot_exclude_the_prior(world):
    """Near misses beat irrelevant ones here by length alone; the kill test takes it out."""
    run, rows = world.run, world.run.rows
    length = np.where(rows.correct, 20, 40) + np.random.default_rng(0).integers(
        0, 5, rows.correct.size
    )
    run = replace(run, rows=replace(rows, characters=length), rows_in={"again": rows})
    found, verdicts = settled(run, *controls(run, irrelevant=0.0))
    (reach,) = found.measures["control_runs"].facts["reaches"]
    assert reach.last.plain.below(0.3)
    assert reach.last.clean.share is None or not reach.last.clean.below(0.3)
    assert verdicts["H2"]["verdict"] == "not separable"


def test_a_control_that_jumps_a_little_later_is_not_said_to_lack_the_gain(world):
    """Right after the run's jump it has nothing; at the end it has all, by a jump of its own."""
    run, late = with_prior(world.run, np.random.default_rng(1)), 7
    (one,) = controls(run, irrelevant=1.0)
    table = one.tables["negative"]
    table = np.concatenate([table[:1], np.repeat(table[1:2], late, 0), table[1:-late]])
    one = replace(one, tables=one.tables | {"negative": table})
    found, verdicts = settled(run, one)
    (reach,) = found.measures["control_runs"].facts["reaches"]
    assert reach.after.plain.below(0.3)
    assert reach.jump.tau == pytest.approx(world.tau + late, abs=1.5)
    assert verdicts["H2"]["verdict"] == "supported"


def test_a_run_that_ends_with_its_jump_cannot_say_that_a_control_lacks_it():
    late = switch(np.random.default_rng(4))
    assert late.tau > 20
    for kind, hypothesis in (("irrelevant", "H2"), ("slow", "H8")):
        run = with_spike(late.run, round(late.tau), times=6.0)
        given = controls(run, **{kind: 0.0})
        _, verdicts = settled(run, *given, measures=("instability", "control_runs"))
        assert verdicts[hypothesis]["verdict"] == "not separable"
        assert "train longer" in said(verdicts[hypothesis])


def test_two_controls_of_one_kind_must_agree(world):
    rng = np.random.default_rng(5)
    given = [control_of(world.run, "irrelevant", s, rng, name=f"seed {s}") for s in (0.0, 0.6)]
    _, verdicts = settled(world.run, *given, measures=("control_runs",))
    assert verdicts["H2"]["verdict"] == "not separable"


def test_a_slow_run_with_the_jump_at_an_equal_summed_rate_excludes_instability(world):
    run = with_spike(world.run, round(world.tau), times=6.0)
    found, verdicts = settled(
        run, *controls(run, slow=1.0), measures=("instability", "control_runs")
    )
    assert verdicts["H8"]["verdict"] == "excluded"
    (reach,) = found.measures["control_runs"].facts["reaches"]
    assert reach.last.other_step == 4 * reach.last.step
    assert reach.last.time == pytest.approx(reach.last.other_time)


def test_a_slow_run_without_the_jump_supports_instability_where_its_signs_lie_on_the_jump(world):
    run = with_spike(world.run, round(world.tau), times=6.0)
    _, verdicts = settled(run, *controls(run, slow=0.0))
    assert verdicts["H8"]["verdict"] == "supported"
    assert "gradient norm of the negative head" in said(verdicts["H8"])


@pytest.mark.parametrize(
    ("share", "spike", "why"),
    [
        (0.0, None, "no sign of instability lies on it"),
        (0.0, 4, "no sign of instability lies on it"),
        (0.5, "on the jump", "neither clearly have"),
    ],
)
def test_instability_stays_open_without_signs_on_the_jump_or_a_clear_control(
    world, share, spike, why
):
    at = round(world.tau) if spike == "on the jump" else spike
    run = world.run if at is None else with_spike(world.run, at, times=6.0)
    measures = ("instability", "control_runs")
    _, verdicts = settled(run, *controls(run, slow=share), measures=measures)
    assert verdicts["H8"]["verdict"] == "not separable"
    assert why in said(verdicts["H8"])


def test_a_slow_run_that_ends_before_the_jump_is_not_compared_and_named(world):
    (slow,) = controls(world.run, slow=1.0)
    short = {head: steps[:8] for head, steps in slow.step_lists.items()}
    slow = replace(slow, step_lists=short, tables={h: t[:8] for h, t in slow.tables.items()})
    found, verdicts = settled(world.run, slow, measures=("instability", "control_runs"))
    assert verdicts["H8"]["verdict"] == "not tested"
    assert "slow (planted" in said(verdicts["H8"])
    assert any("could not be compared" in text for text in found.findings["warnings"])


def test_a_control_without_a_positive_head_is_compared_in_the_negative_head_alone(world):
    (one,) = controls(world.run, irrelevant=0.0)
    one = replace(one, tables={"negative": one.tables["negative"]})
    found, verdicts = settled(world.run, one, measures=("control_runs",))
    assert found.measures["control_runs"].tables[0].rows[0][2] == "base_likra"
    assert any("no positive head" in text for text in found.findings["warnings"])
    assert "(negative head alone)" in said(verdicts["H2"])


def test_without_controls_findings_are_as_if_the_measure_did_not_exist(world):
    with_it = analyze(world.run, QUICK, measures=("control_runs",)).findings
    without = analyze(world.run, QUICK, measures=()).findings
    (line,) = set(with_it["warnings"]) - set(without["warnings"])
    assert "no control run was given: probe analyze RUN --control" in line
    with_it["warnings"].remove(line)
    assert with_it == without
    assert "control_runs" not in with_it
    for verdict in with_it["verdicts"]:
        if verdict["hypothesis"] in ("H2", "H8"):
            assert (verdict["verdict"], verdict["effect"]) == ("not tested", None)


def test_findings_name_every_control_and_what_it_reaches(world):
    found, _ = settled(
        world.run, *controls(world.run, irrelevant=0.0, slow=1.0), measures=("control_runs",)
    )
    names = [one["name"] for one in found.findings["control_runs"]]
    assert names == ["irrelevant", "slow"]
    lines = [one for one in found.findings["controls"] if one["control"] == "control run"]
    assert [round(one["value"]) for one in lines] == [0, 1]


def test_shares_come_near_the_planted_ones(world):
    for share in (0.3, 0.7):
        found, _ = settled(
            world.run, *controls(world.run, irrelevant=share), measures=("control_runs",)
        )
        (reach,) = found.measures["control_runs"].facts["reaches"]
        low, high = reach.last.plain.interval
        assert low - 0.03 <= share <= high + 0.03


def test_a_share_is_a_ratio_of_sums_and_its_interval_stays_open_where_both_agree():
    rng = np.random.default_rng(0)
    before, after = np.zeros(60), (np.arange(60) < 48).astype(float)
    weights = question_weights(60, 200, rng)
    half = after * (np.arange(60) % 2)
    found = reached(before, after, half, weights)
    assert (found.before, found.after, found.other) == (0.0, 0.8, 0.4)
    assert found.share == pytest.approx(0.5)
    same = reached(before, after, after, weights)
    assert same.share == 1.0
    # Bonett and Price by hand: 1.96 * sqrt((1 + 1) / 62) / sqrt(62) of the gain of .8
    assert same.interval[1] - 1 == pytest.approx(1.959964 * np.sqrt(2) / 62 / 0.8)
    assert not same.within(0.04)
    assert same.within(0.05)


def test_no_gain_has_no_share():
    weights = question_weights(40, 100, np.random.default_rng(0))
    level = (np.arange(40) % 2).astype(float)
    found = reached(level, level, 1 - level, weights)
    assert found.share is None
    assert not found.above(-9.0)
    assert not found.below(9.0)


def test_intervals_of_a_share_hold_the_truth(rng):
    """Half of the gain is reached; 95 % intervals from 100 questions, 200 draws of questions."""
    held = 0
    for _ in range(200):
        before = (rng.random(100) < 0.3).astype(float)
        after = np.maximum(before, rng.random(100) < 0.7)
        other = np.maximum(before, (after > 0) & (rng.random(100) < 0.5))
        found = reached(before, after, other.astype(float), question_weights(100, 200, rng))
        held += found.interval[0] <= 0.5 <= found.interval[1]
    assert held >= 180  # 190 expected, standard deviation 3


def test_what_the_surface_explains_is_taken_out_and_nothing_else(make_rows, rng):
    rows = make_rows([4] * 200, rng)
    rows = replace(rows, characters=rng.integers(3, 40, rows.question.size))
    signal = 2.0 * rows.correct + rng.normal(0, 0.3, rows.question.size)
    features = surface_features(rows)
    with_length = signal + 0.5 * rows.characters
    left = without_surface(rows, np.stack([with_length, signal, 0.5 * rows.characters]), features)
    hits = top_hits(rows, left[:2]).value.mean(axis=1)
    assert top_hits(rows, with_length[None]).value.mean() < 0.5 < 0.97 < hits[0]
    np.testing.assert_allclose(left[0], left[1], atol=1e-9)  # a line in a feature changes nothing
    assert np.abs(left[2]).max() < 1e-9


def test_equal_lengths_take_nothing_out(make_rows, rng):
    rows = make_rows([3] * 20, rng)
    flat = replace(rows, characters=np.full(60, 5), tokens=np.full(60, 2))
    scores = rng.normal(0, 1, (2, 60))
    assert surface_features(flat).shape == (0, 60)
    left = without_surface(flat, scores, surface_features(flat))
    assert np.array_equal(top_hits(flat, left).value, top_hits(flat, scores).value)


def course_at(times):
    empty = np.zeros((len(times), 2))
    return Course(np.arange(len(times)), empty, empty, np.asarray(times, dtype=np.float64))


def test_rates_are_matched_within_a_tenth_and_steps_exactly():
    own = course_at([1.0, 2.0, 4.0, np.nan])
    other = course_at([0.5, 2.1, 4.5, 4.39])
    near = beside(own, other, exact=False)
    assert (near.own.tolist(), near.other.tolist()) == ([1, 2], [1, 3])
    assert beside(own, other, exact=True).own.size == 0
    assert beside(own, own, exact=True).own.tolist() == [0, 1, 2]
    assert beside(own, course_at([np.nan]), exact=False).own.size == 0


def test_the_positive_head_of_a_planted_control_is_that_of_its_run(world):
    (one,) = controls(world.run, irrelevant=1.0)
    assert one.tables["positive"] is world.run.tables["scores/positive"]
    assert np.array_equal(one.tables["negative"][0], world.run.base_scores())
    assert combine(world.run, "sft", 1.0).values is not None
