"""What findings and verdicts say: every sentence can be cited as it stands."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import critical_phase
from critical_phase.analysis import AnalysisSettings, analyze, planted_run
from critical_phase.analysis.judging.control_verdicts import style
from critical_phase.analysis.judging.hypotheses import CLAIMS
from critical_phase.analysis.judging.instability_verdict import unstable
from critical_phase.analysis.judging.mechanisms import _few, constant, knowing, rerouting
from critical_phase.analysis.judging.mirage_verdict import _unmoved, smooth_margin
from critical_phase.analysis.judging.noise_evidence import noise_evidence
from critical_phase.analysis.judging.noise_verdict import rounding
from critical_phase.analysis.judging.scale_verdict import growth
from critical_phase.analysis.judging.verdicts import _case
from critical_phase.analysis.jumps.change_point import NO_FIT, SMALL_PART, Abruptness
from critical_phase.analysis.jumps.changes import rank
from critical_phase.analysis.jumps.changes_table import changes_table
from critical_phase.analysis.scores.second_scoring import Crossing, SecondScoring
from critical_phase.analysis.scores.second_scoring_views import Twice
from critical_phase.analysis.telling.jump_finding import jump_finding
from critical_phase.analysis.telling.jump_sentence import sentence
from critical_phase.analysis.updates.turning import Turn

SETTINGS = AnalysisSettings(
    draws=100, permutations=40, smooth_draws=100, run="planted",
    made={"model": "tiny", "training_seed": 3, "created_utc": "2026-01-02T03:04:05Z"},
)  # fmt: skip
PAGE = Path(critical_phase.__file__).resolve().parents[2] / "docs" / "methods.md"


@pytest.fixture(scope="module")
def world():
    """A run whose margins, states and one attention head switch together."""
    run = planted_run("switch", np.random.default_rng(0), questions=100, steps=33)
    return run, analyze(run, SETTINGS)


@pytest.fixture
def case(world):
    return _case(world[0], SETTINGS, world[1].measures)


def with_facts(results, measure, **facts):
    """Replace facts of one measure."""
    one = results[measure]
    return {**results, measure: replace(one, facts={**one.facts, **facts})}


def with_test(change, p, share):
    return replace(change, test=replace(change.test, p=p, share=share))


def accuracy_is(results, change):
    changes = {**results["change_points"].facts["changes"], "accuracy.likra": change}
    return with_facts(results, "change_points", changes=changes)


def said(verdict):
    return " ".join(verdict.evidence)


def test_a_failed_fit_of_an_abrupt_shape_is_called_that(world, case):
    wild = accuracy_is(world[1].measures, with_test(case.accuracy, 0.001, 1.55))
    text = sentence(world[0], wild)
    assert "the fit of an abrupt shape failed: it would carry 1.55 of the range" in text
    assert "only 1.55" not in text
    small = accuracy_is(world[1].measures, with_test(case.accuracy, 0.001, 0.2))
    assert "with an abrupt part of only .20 of its range" in sentence(world[0], small)


def test_a_mode_of_checkpoints_made_elsewhere_has_their_name(world):
    text = sentence(world[0], world[1].measures, names={"likra": "my-dpo-run"})
    assert text.startswith("my-dpo-run accuracy jumps from")
    assert sentence(world[0], world[1].measures).startswith("Likra accuracy jumps from")


def test_accuracy_that_rises_smoothly_is_not_said_to_stay(case):
    flat = replace(with_test(case.accuracy, 0.3, 0.6), size_interval=(-0.05, 0.5))
    assert _unmoved(flat).startswith("accuracy did not change abruptly")
    assert smooth_margin(replace(case, accuracy=flat)).evidence == (_unmoved(flat),)
    assert "abrupt change of accuracy may be zero" in _unmoved(
        replace(case.accuracy, size_interval=(-0.05, 0.5))
    )


@pytest.mark.parametrize(
    ("p", "share", "word"),
    [(0.0008, 1.57, NO_FIT), (0.0008, 0.2, SMALL_PART), (0.0008, 0.9, "abrupt"),
     (0.0008, 1.2, "abrupt"), (0.2, 1.57, "smooth"), (0.2, 0.9, "smooth")],
)  # fmt: skip
def test_neither_smooth_nor_abrupt_has_its_own_label(case, p, share, word):
    (row,) = rank([with_test(case.accuracy, p, share)], None)
    assert (row.verdict, row.abrupt) == (word, word == "abrupt")
    assert row.change.test.word == word
    table = changes_table([row], 8)
    assert word in table.rows[0]
    assert "neither is called abrupt" in table.caption
    assert f"`{NO_FIT}`" in PAGE.read_text()
    assert f"`{SMALL_PART}`" in PAGE.read_text()
    assert Abruptness(p, 30.0, 5.0, 2.0, share).found is (word == "abrupt")


def led(case, low, high, *, floor=1.0, reach=3.0):
    """Give all attention heads of the negative head one lead."""
    rows = tuple(
        replace(r, lead=(low + high) / 2, lead_interval=(low, high), floor=floor, reach=reach)
        if r.change.series.quantity == "attention_js.negative"
        else r
        for r in case.ranked
    )
    return replace(case, ranked=rows)


@pytest.mark.parametrize(
    ("low", "high", "there"),
    [(-10.9, -2.43, False), (2.0, 9.0, False), (-2.4, -0.4, True), (-2.0, 3.0, True)],
)
def test_at_the_jump_means_within_what_checkpoints_resolve(case, low, high, there):
    moved = led(case, low, high)
    abrupt = [
        r for r in moved.ranked
        if r.abrupt and r.change.series.quantity == "attention_js.negative"
    ]  # fmt: skip
    assert abrupt
    assert {moved.at_jump(r) for r in abrupt} == {there}
    found = rerouting(moved)
    assert f"{len(abrupt) if there else 0} of 4 attention heads jump with accuracy" in said(found)
    assert ("not with it (1.1, lead" in said(found)) is not there
    assert (found.effect is None, found.p_adjusted is None) == (not there, not there)


@pytest.mark.parametrize(("low", "high"), [(-13.0, 6.5), (-3.0, 4.0)])
def test_an_interval_too_wide_is_neither_with_the_jump_nor_apart_from_it(case, low, high):
    moved = led(case, low, high)
    abrupt = [
        r for r in moved.ranked
        if r.abrupt and r.change.series.quantity == "attention_js.negative"
    ]  # fmt: skip
    assert {(moved.at_jump(r), moved.maybe_at_jump(r)) for r in abrupt} == {(False, True)}
    assert {r.order for r in abrupt} == {"unresolved"}
    found = rerouting(moved)
    assert (found.verdict, found.effect) == ("not separable", None)
    assert "0 of 4 attention heads jump with accuracy; for" in said(found)
    assert "more that is not resolved, leads neither apart from 0 nor, by" in said(found)
    assert "not with it" not in said(found)


def test_a_clear_lead_within_a_long_jump_is_before_it_and_not_with_it(case):
    moved = led(case, -8.6, -2.2, reach=8.8)
    rows = [r for r in moved.ranked if r.change.series.quantity == "attention_js.negative"]
    assert {(r.order, r.with_jump) for r in rows if r.abrupt} == {("before", False)}
    assert not any(moved.at_jump(r) or moved.maybe_at_jump(r) for r in rows)


def test_attention_heads_that_may_be_at_the_jump_are_counted_before_they_are_called_few(case):
    rows = [r for r in case.ranked if r.change.series.quantity == "attention_js.negative"]
    assert _few(rows[:1], [], rows)
    assert not _few(rows[:1], rows[1:2], rows)


def test_a_probe_whose_place_is_not_resolved_is_not_said_to_learn_with_the_jump(case):
    assert knowing(case)[0].verdict == "excluded"
    rows = tuple(
        replace(r, lead=-3.0, lead_interval=(-13.0, 6.5))
        if r.change.series.quantity == "probe_top1.negative"
        else r
        for r in case.ranked
    )
    old, new = knowing(replace(case, ranked=rows))
    assert (old.verdict, new.verdict) == ("not separable", "not separable")
    assert "whether the probe changes with the jump is not resolved" in said(old)


def test_no_sign_lies_on_a_jump_whose_place_is_unknown(case):
    wide = replace(case.jump, interval=(4.0, 28.0))
    facts = {**case.results["changes"].facts, "jump": wide}
    signs = case.results["instability"].facts["instability"]
    turn = (16, Turn(5, 1.0, True, 0.001, (1, 2)))
    signs = {**signs, "negative": replace(signs["negative"], turn=turn)}
    results = with_facts(case.results, "changes", **facts)
    results = with_facts(results, "instability", instability=signs)
    (text, *_) = unstable(replace(case, results=results)).evidence
    assert "at step 16 (on the jump or not: the place of the jump is not known" in text


def test_attention_heads_are_named_with_their_own_effect_and_p(case):
    found = rerouting(case)
    (row,) = [r for r in case.ranked if r.change.series.title == found.p_name]
    assert "(1.1, lead" in said(found)
    assert found.effect == pytest.approx(float(row.change.series.value[-1]))
    assert found.p_adjusted == row.p_adjusted
    assert "head 1.1" in found.effect_name


@pytest.mark.parametrize(("step", "where"), [(28, "not on the jump"), (16, "(on the jump")])
def test_signs_of_instability_come_with_their_step_and_place(case, step, where):
    facts = case.results["instability"].facts["instability"]
    turn = (step, Turn(5, 1.0, True, 0.001, (1, 2)))
    assert turn[1].found
    signs = {**facts, "negative": replace(facts["negative"], turn=turn)}
    moved = replace(case, results=with_facts(case.results, "instability", instability=signs))
    (text, *_) = unstable(moved).evidence
    assert f"turn of the negative head's path at step {step} " in text
    assert where in text


def blind(case, high, *, accuracy=0.25, gap=(0.69, 0.79), words=None):
    """Give the case scores of the answer alone."""
    found = {
        "mode": "likra", "step": 32, "accuracy": accuracy, "interval": [0.2, high],
        "with_question": 0.99, "difference_interval": list(gap),
    }  # fmt: skip
    rules = {} if words is None else {"bag of words": {"interval": [words, 1.0]}}
    facts = {"chance": 0.25, "rules": rules, "answer_only": {"likra": found}}
    return style(replace(case, results=with_facts(case.results, "baselines", baselines=facts)))


def test_what_style_lacks_is_said_and_not_what_was_done(case):
    near = blind(case, 0.302)
    assert near.verdict == "not separable"
    assert "must be at most 0.300 (chance + 0.05), it is 0.302: more questions" in said(near)
    assert "score the answers without" not in said(near)
    assert "more questions" not in said(blind(case, 0.7, accuracy=0.6))
    alike = blind(case, 0.99, accuracy=0.98, gap=(-0.01, 0.02), words=0.5)
    assert "bag of words learned on other questions must be as good; its lower end is 0.500" in (
        said(alike)
    )
    assert blind(case, 0.299).verdict == "excluded"


def test_the_noise_of_every_head_is_told_by_name(case):
    twice = SecondScoring(
        np.array([1, 2, 3]), np.ones(3), np.full(3, 20.0), np.full(3, 20.0), np.full(3, 15.0),
        np.full(3, 25.0), (Crossing(1.0, 1, (1.0, 1.0)),), False,
    )  # fmt: skip
    weights = np.full((5, 100), 0.01)
    texts = noise_evidence(twice, None, None, weights, place=(10.0, 12.0), head="negative").texts
    assert texts[0].startswith("negative head: signal over noise")
    assert texts[2].startswith("negative head: the accuracy of the direction")
    beside = Twice(
        "likra", case.accuracy.series, case.accuracy.series, 16.0, 16.0, (0.0, 0.0), 1.0, 0.0,
        (0.0, 0.0),
    )  # fmt: skip
    own = {"heads": {"negative": twice, "positive": twice}, "modes": {"likra": beside}}
    facts = with_facts(case.results, "second_scoring", second_scoring={"again": own})
    found = rounding(replace(case, results=facts))
    assert found.verdict == "excluded"
    assert found.effect_name == "least signal over noise before the jump, positive head"
    assert {t.split(":")[0] for t in found.evidence if "head: " in t} == {
        "positive head", "negative head",
    }  # fmt: skip


def test_every_effect_and_every_p_has_a_name(world, case):
    found = world[1].findings["verdicts"]
    assert {one["hypothesis"] for one in found} == set(CLAIMS)
    for one in found:
        assert (one["effect"] is not None) == bool(one["effect_name"]) == bool(one["effect_unit"])
        assert (one["p_adjusted"] is not None) == bool(one["p_name"])
    titles = {r.change.series.title: r.p_adjusted for r in case.ranked}
    for verdict in (constant(case), *knowing(case), rerouting(case), smooth_margin(case)):
        assert verdict.p_adjusted == titles[verdict.p_name]


def test_a_second_test_that_says_nothing_is_not_read_as_a_failed_one(case):
    facts = case.results["collapse"].facts["collapse"]
    sure = {**facts, "negative": replace(facts["negative"], snr=4e5)}
    quiet = {
        **case.results["change_points"].facts["changes"],
        "accuracy.base_likra": with_test(case.accuracy, 0.788, 0.8),
    }
    results = with_facts(case.results, "collapse", collapse=sure)
    results = with_facts(results, "change_points", changes=quiet)
    found = growth(replace(case, results=results))
    assert found.verdict == "excluded"
    assert "this excludes H1: no size makes it as good" in found.evidence[0]
    assert "4e+05 times the noise of a second scoring" in found.evidence[0]
    assert found.evidence[1].endswith("it is not, so this test says nothing")
    assert found.p_adjusted is None


def test_every_control_gives_both_numbers_and_their_relation(world):
    controls = world[1].findings["controls"]
    assert len(controls) == 5
    for one in controls:
        assert {"control", "sentence", "value", "run_value", "relation"} == set(one)
        assert one["sentence"].endswith(f": {one['relation']}.")
        assert one["value"] is not None
        assert one["run_value"] is not None
    probes = next(one for one in controls if one["control"].startswith("Probe top-1"))
    assert probes["run_value"] == 1.0
    assert "at most 1.000 at any layer and step" in probes["sentence"]
    assert "above its control" in probes["relation"]


def test_a_jump_of_one_mode_or_one_clock_is_said(world, case):
    results = case.results
    assert jump_finding(case.jump, results, 8)["only"] == ""
    points = results["change_points"].facts
    calm = {**points["changes"], "accuracy.base_likra": with_test(case.accuracy, 0.4, 0.8)}
    tests = points["clock_tests"]["accuracy.likra"]
    path = {**tests, "path length": replace(tests["path length"], found=False, p=0.072)}
    clocks = {**points["clock_tests"], "accuracy.likra": path}
    lone = with_facts(results, "change_points", changes=calm, clock_tests=clocks)
    only = jump_finding(case.jump, lone, 8)["only"]
    assert re.match(r"base_likra goes from \.\d\d to 1\.00 without an abrupt change", only)
    assert only.endswith("with path length as time likra is not abrupt (p = 0.072)")
    assert "sft" not in only


def test_a_jump_carries_its_levels_as_fitted_and_as_observed(world):
    jump, accuracy = world[1].findings["jump"], world[1].findings["accuracy"]
    assert (jump["first"], jump["last"]) == (accuracy["likra"]["first"], accuracy["likra"]["last"])
    assert jump["base"] == accuracy["base"]
    assert jump["interval_kind"].endswith("one training run")
    assert jump["posterior_agrees"] is True


def test_findings_say_what_they_were_made_from(world):
    made = world[1].findings["provenance"]
    assert made["made"] == dict(SETTINGS.made)
    assert (made["questions"], made["candidates"]) == (100, [4])
    assert (made["draws"], made["analysis_seed"], made["training_runs"]) == (100, 0, 1)
    assert made["analysis_version"] == critical_phase.__version__
    assert made["checkpoints"] == {"positive": 33, "negative": 33}


def fields_of(value):
    """Return the keys of an object and of all it holds, but not names of modes and heads."""
    if isinstance(value, list):
        return set().union(*(fields_of(one) for one in value)) if value else set()
    if not isinstance(value, dict):
        return set()
    return set(value) | set().union(*(fields_of(one) for one in value.values()), set())


def test_every_field_of_findings_is_documented(world):
    page = PAGE.read_text()
    part = page[page.index("## findings.json") :]
    named = set(re.findall(r"`(\w+)`", part))
    found = json.loads(json.dumps(world[1].findings))
    assert fields_of(found) <= named


def test_no_figure_counts_something_else_as_questions(world):
    for result in world[1].measures.values():
        assert not [part.id for part in (*result.curves, *result.maps) if part.n == 1]
