import json
from dataclasses import replace

import numpy as np
import pytest

from critical_phase.analysis import MEASURES, AnalysisSettings, analyze, planted_run, to_json
from critical_phase.analysis.judging.verdicts import PLAIN
from critical_phase.analysis.jumps.changes import SOURCES
from critical_phase.analysis.jumps.mirage import mirage
from critical_phase.analysis.jumps.series_change import ChangeFinder
from critical_phase.analysis.series import question_series
from critical_phase.analysis.telling.jump_sentence import _explained
from critical_phase.errors import ConfigError

KEYS = {
    "schema_version", "run", "sentence", "jump", "accuracy", "changes", "verdicts", "controls",
    "warnings", "weight", "failed", "provenance",
}  # fmt: skip
JUMP = {
    "mode", "tau_step", "tau_examples", "interval_examples", "size", "width_steps", "margin_share",
    "before", "after", "kind", "interval_kind", "size_interval", "first", "last", "base", "only",
    "posterior_steps", "posterior_agrees",
}  # fmt: skip
CHANGE = {
    "quantity", "layer", "head", "tau_step", "interval_steps", "effect", "p_adjusted",
    "lead_steps", "lead_interval",
}  # fmt: skip
VERDICT = {
    "hypothesis", "verdict", "effect", "interval", "p_adjusted", "evidence", "effect_name",
    "effect_unit", "p_name",
}  # fmt: skip
PARTS = ("curves", "maps", "tables", "tokens")
JUDGED = (
    *SOURCES, "second_scoring", "collapse", "baselines", "instability", "control_runs",
)  # fmt: skip
"""Measures that rank changes or that verdicts read: what the others say is asked of `switch`."""


def written(result):
    return json.dumps(to_json(result), sort_keys=True, allow_nan=False)


@pytest.fixture(scope="module")
def settings():
    return AnalysisSettings(draws=200, permutations=40, smooth_draws=100, run="planted")


@pytest.fixture(scope="module")
def switch(settings):
    run = planted_run("switch", np.random.default_rng(0), questions=100, steps=33)
    return run, analyze(run, settings)


def test_findings_have_exactly_the_published_keys(switch):
    findings = switch[1].findings
    assert set(findings) == KEYS
    assert set(findings["jump"]) >= JUMP
    assert all(set(change) >= CHANGE for change in findings["changes"])
    assert all(set(verdict) >= VERDICT for verdict in findings["verdicts"])
    assert findings["run"] == "planted"


def test_a_planted_switch_is_found_where_it_is(switch):
    jump = switch[1].findings["jump"]
    assert jump["tau_step"] == pytest.approx(16, abs=1)
    assert jump["interval_examples"][0] <= 16 * 8 <= jump["interval_examples"][1]
    assert jump["kind"] == "step"
    assert jump["margin_share"] < 0.5
    assert "jumps from" in switch[1].headline


def test_quantities_that_were_planted_to_jump_are_ranked_and_others_are_not(switch):
    found = {(c["quantity"], c["layer"], c["head"]) for c in switch[1].findings["changes"]}
    assert {("displacement.negative", 1, None), ("attention_js.negative", 1, 1)} <= found
    assert ("probe_top1.negative", 1, None) in found
    assert not any("positive" in quantity or layer == -1 for quantity, layer, _ in found)


def test_leads_are_taken_from_the_jump(switch):
    findings = switch[1].findings
    for change in findings["changes"]:
        lead = change["tau_step"] - findings["jump"]["tau_step"]
        assert change["lead_steps"] == pytest.approx(lead, abs=1e-4)
        assert change["lead_interval"][0] <= lead <= change["lead_interval"][1]


def test_every_measure_writes_its_parts_without_nan_and_with_its_name(switch):
    table = json.loads(written(switch[1]))["measures"]
    assert list(switch[1].measures) == list(MEASURES)
    for name, result in table.items():
        assert result["measure"] == name
        assert result["schema_version"] == 1
        assert all(isinstance(result[part], list) for part in PARTS)


def test_curves_maps_and_tables_are_rectangular(switch):
    table = json.loads(written(switch[1]))["measures"]
    for result in table.values():
        for curve in result["curves"]:
            length = len(curve["steps"])
            for key in ("examples", "value", "low", "high"):
                assert curve[key] is None or len(curve[key]) == length
        for one in result["maps"]:
            assert len(one["values"]) == len(one["row_labels"])
            assert {len(row) for row in one["values"]} == {len(one["steps"])}
        for one in result["tables"]:
            assert {len(row) for row in one["rows"]} <= {len(one["columns"])}


def test_ids_are_used_once(switch):
    for result in switch[1].measures.values():
        ids = [part.id for part in (*result.curves, *result.maps, *result.tables)]
        assert len(ids) == len(set(ids))


def test_equal_seeds_give_equal_bytes(quick):
    runs = [planted_run("switch", np.random.default_rng(3), questions=40, steps=12) for _ in "ab"]
    assert written(analyze(runs[0], quick)) == written(analyze(runs[1], quick))


def test_the_order_of_checkpoints_does_not_matter(quick):
    run = planted_run("switch", np.random.default_rng(0), steps=12)
    order = np.random.default_rng(1).permutation(12)
    mixed = planted_run("switch", np.random.default_rng(0), steps=12)
    mixed.step_list[:] = run.step_list[order]
    for name, table in run.tables.items():
        if name not in ("scores/base", "key_length"):
            mixed.tables[name] = table[order]
    for head, path in run.weights.items():
        mixed.weights[head] = [path[i] for i in order]
    for measure in ("curves", "change_points", "weights"):
        assert written(MEASURES[measure](run, quick)) == written(MEASURES[measure](mixed, quick))


@pytest.mark.parametrize("world", ["mirage", "smooth", "flat"])
def test_smooth_worlds_have_no_jump_and_an_empty_table(world, settings):
    run = planted_run(world, np.random.default_rng(1), questions=80, steps=33)
    findings = analyze(run, settings, measures=JUDGED).findings
    assert findings["jump"] is None
    assert findings["changes"] == []
    assert findings["sentence"].startswith("No abrupt change")
    assert {v["verdict"] for v in findings["verdicts"][2:]} == {"not tested"}


def verdicts_of(world, settings, seed=0):
    run = planted_run(world, np.random.default_rng(seed), questions=100, steps=33)
    findings = analyze(run, settings, measures=JUDGED).findings
    return {v["hypothesis"]: v for v in findings["verdicts"]}


def test_changes_and_verdicts_need_no_other_measures(switch, settings):
    some, every = analyze(switch[0], settings, measures=JUDGED).findings, switch[1].findings
    assert some["verdicts"] == every["verdicts"]
    assert some["changes"] == every["changes"]


@pytest.fixture(scope="module")
def judged(settings):
    worlds = ("new_feature", "readout", "constant_vector", "rerouting", "noise_floor", "mirage")
    return {world: verdicts_of(world, settings) for world in worlds}


@pytest.mark.parametrize(
    ("world", "kept"),
    [
        ("new_feature", "H6"),
        ("readout", "H5"),
        ("constant_vector", "H4"),
        ("rerouting", "H7"),
        ("noise_floor", "H1"),
    ],
)
def test_worlds_keep_their_own_hypothesis(world, kept, judged):
    assert judged[world][kept]["verdict"] == "not separable"


@pytest.mark.parametrize("hypothesis", ["H0b", "H2", "H3", "H4", "H7", "H8"])
def test_nothing_is_excluded_whose_kill_test_did_not_run(hypothesis, judged):
    assert all(table[hypothesis]["verdict"] != "excluded" for table in judged.values())


def test_a_probe_that_reads_and_stays_flat_excludes_a_new_feature(settings):
    run = planted_run("readout", np.random.default_rng(0), questions=600, steps=17)
    findings = analyze(run, settings, measures=("linear_probes", "readout_gap")).findings
    found = {v["hypothesis"]: v for v in findings["verdicts"]}["H6"]
    assert found["verdict"] == "excluded"
    assert any("does read the answer" in text for text in found["evidence"])


def test_a_probe_that_learns_with_the_jump_excludes_an_old_feature(judged):
    assert judged["new_feature"]["H5"]["verdict"] == "excluded"


def test_a_probe_that_reads_nothing_excludes_nothing(judged):
    found = judged["constant_vector"]["H6"]
    assert found["verdict"] == "not separable"
    assert any("the probe reads nothing here" in text for text in found["evidence"])


def test_a_probe_at_its_ceiling_excludes_nothing(settings):
    run = planted_run("readout", np.random.default_rng(0), questions=100, steps=33)
    for name, table in run.tables.items():
        if name.startswith("residual/"):
            table[..., 0] += 20 * run.rows.correct
    findings = analyze(run, settings, measures=("linear_probes", "readout_gap")).findings
    found = {v["hypothesis"]: v for v in findings["verdicts"]}["H6"]
    assert found["verdict"] == "not separable"
    assert any("at its ceiling" in text for text in found["evidence"])


def test_noise_that_the_change_outgrows_stays_open(judged):
    table = judged["noise_floor"]
    assert table["H0b"]["verdict"] == "not tested"
    assert table["H0b"]["effect"] > 100
    assert any("second scoring" in text for text in table["H0b"]["evidence"])
    assert any("before the jump" in text for text in table["H1"]["evidence"])


def test_without_a_second_scoring_scale_stays_open_and_says_what_is_known(switch):
    found = {v["hypothesis"]: v for v in switch[1].findings["verdicts"]}["H1"]
    assert found["verdict"] == "not separable"
    (text,) = (text for text in found["evidence"] if "float32 rounding" in text)
    assert "H0b" in text


def test_a_mirage_is_told_with_both_halves_but_not_supported_over_an_open_noise_floor(judged):
    found = judged["mirage"]["H0a"]
    assert found["verdict"] == "not separable"
    assert found["effect"] == pytest.approx(1, abs=0.1)
    assert "on even questions, which decide" in found["evidence"][0]
    assert "on odd ones, which confirm" in found["evidence"][0]
    assert found["evidence"][-1] == "not supported while H0b is not tested"


def test_p_values_of_verdicts_are_those_of_the_ranked_table(switch):
    ranked = {
        r.change.series.quantity: r.p_adjusted
        for r in switch[1].measures["changes"].facts["ranked"]
        if r.change.series.layer is None
    }
    table = {v["hypothesis"]: v["p_adjusted"] for v in switch[1].findings["verdicts"]}
    assert table["H0a"] == pytest.approx(ranked["margin.likra"])
    assert table["H1"] is None  # its effect is that of the scaled early change
    assert table["H0c"] is None


def test_linear_margins_that_cross_together_rise_steeply_and_do_not_jump(settings):
    rng = np.random.default_rng(0)
    run = planted_run("mirage", rng, questions=100, steps=33, width=0)
    base, taste = run.tables["scores/base"], rng.normal(0, 0.08, run.rows.question.size)
    course = np.linspace(-1, 1, 33)[:, None] * run.rows.correct
    run.tables["scores/positive"] = np.tile(base, (33, 1))
    run.tables["scores/negative"] = base - course - taste
    headline = analyze(run, settings).headline
    assert "Likra accuracy rises steeply from" in headline
    assert headline.endswith("so accuracy needs no abrupt change of the margin.")


def test_a_change_at_another_place_claims_no_bend():
    time = np.arange(33.0)
    spread = np.random.default_rng(0).normal(-0.2, 0.1, 300)
    late = spread + np.clip((time - 16) / 16, 0, 1)[:, None] * 4
    weights = np.full((50, 300), 1 / 300)
    series = question_series("margin.likra", "margin", "nats", "margin", np.arange(33), late)
    change = ChangeFinder(weights, AnalysisSettings(draws=20, smooth_draws=100)).find(series)
    text = _explained(mirage(late, time, weights), change, 8)
    assert text.endswith("; no abrupt change of the margin itself is found.")


def test_the_weight_is_said(settings):
    run = planted_run("switch", np.random.default_rng(0), width=0, questions=80, steps=33)
    for weight, name in ((0.3, "Likra (weight 0.3) accuracy"), (1.0, "Likra accuracy")):
        result = analyze(run, replace(settings, weight=weight))
        assert result.findings["weight"] == weight
        assert name in result.headline


def test_base_scores_alone_give_a_plain_sentence(quick):
    run = planted_run("flat", np.random.default_rng(0), heads=(), width=0)
    findings = analyze(run, quick).findings
    assert findings["jump"] is None
    assert findings["sentence"] == "No trained head, so there is no accuracy to follow."
    assert {v["verdict"] for v in findings["verdicts"]} == {"not tested"}


class _Gaps:
    """A run whose negative head lacks two steps, with a note of the loader."""

    notes = ("negative: steps 20, 21 have adapters but no scores",)

    def __init__(self, run):
        self._run = run

    def __getattr__(self, name):
        return getattr(self._run, name)

    def _kept(self, head):
        return ~np.isin(self._run.step_list, [20, 21]) | (head != "negative")

    def steps(self, head):
        return self._run.step_list[self._kept(head)]

    def scores(self, head):
        return self._run.scores(head)[self._kept(head)]

    def adapters(self, head):
        return []


def test_steps_that_one_head_lacks_and_notes_of_the_loader_are_warned_of(settings):
    run = _Gaps(planted_run("switch", np.random.default_rng(0), width=0, questions=60, steps=33))
    warnings = analyze(run, settings).findings["warnings"]
    assert warnings[0] == _Gaps.notes[0]
    assert warnings[1].startswith("likra: 2 steps have scores of one head only")
    assert warnings[1].endswith("(20, 21)")


def test_what_abrupt_means_is_said(switch):
    (text,) = [t for t in switch[1].findings["warnings"] if t.startswith("abrupt means")]
    assert "at most 8 steps (a quarter of the 32 collected)" in text
    assert "at least 12.8 steps wide" in text
    assert "may be called either" in text


def test_nothing_is_supported_after_an_untested_plain_explanation(switch):
    untested = False
    for verdict in switch[1].findings["verdicts"]:
        assert not (untested and verdict["verdict"] == "supported")
        untested |= verdict["verdict"] == "not tested" and verdict["hypothesis"] in PLAIN
    assert untested


def test_scores_alone_are_enough(settings):
    run = planted_run("switch", np.random.default_rng(0), width=0, questions=80, steps=33)
    result = analyze(run, settings)
    assert result.findings["jump"] is not None
    assert any("no hidden states" in note for note in result.findings["warnings"])
    assert any("no attention" in note for note in result.findings["warnings"])


@pytest.mark.parametrize(("head", "mode"), [("negative", "base_likra"), ("positive", "sft")])
def test_one_head_is_enough(head, mode, quick):
    run = planted_run("switch", np.random.default_rng(0), heads=(head,), questions=80, steps=33)
    findings = analyze(run, quick).findings
    assert mode in findings["accuracy"]
    assert findings["jump"] is None or findings["jump"]["mode"] == mode
    assert any("left out" in note for note in findings["warnings"])


def test_two_candidates_and_a_log_schedule(quick):
    run = planted_run("switch", np.random.default_rng(0), candidates=2, questions=60, steps=21)
    run.step_list[:] = np.concatenate(([0], 2 ** np.arange(20)))
    assert json.loads(written(analyze(run, quick)))["findings"]["accuracy"]["chance"] == 0.5


@pytest.mark.parametrize("steps", [2, 3, 5, 7])
def test_few_checkpoints_warn_and_find_no_jump(steps, quick):
    run = planted_run("switch", np.random.default_rng(0), steps=steps)
    findings = analyze(run, quick).findings
    assert findings["jump"] is None
    assert any("fewer than 8 checkpoints" in note for note in findings["warnings"])


def test_position_before_the_answer_is_skipped_and_said(switch):
    assert any("question_end is the same" in note for note in switch[1].findings["warnings"])


def test_chosen_measures_and_progress(quick):
    seen = []
    run = planted_run("switch", np.random.default_rng(0), steps=12)
    result = analyze(run, quick, progress=seen.append, measures=["attention"])
    assert seen == list(result.measures) == ["curves", "change_points", "attention", "changes"]


def test_an_unknown_measure_is_named(settings):
    with pytest.raises(ConfigError, match="asked for magic, known are curves"):
        analyze(planted_run("flat", np.random.default_rng(0)), settings, measures=["magic"])


def test_every_measure_runs_alone(quick):
    run = planted_run("switch", np.random.default_rng(0), steps=10, questions=30)
    for name, measure in MEASURES.items():
        assert measure(run, quick).measure == name


def test_a_layer_that_never_moves_keeps_its_row_in_the_maps(settings):
    run = planted_run("switch", np.random.default_rng(0), steps=12)
    for head in run.heads:
        run.tables[f"residual/{head}/-1"][:] = run.base_residual(-1, "answer_end")
    result = analyze(run, settings, measures=SOURCES)
    maps = {one.id: one for one in result.measures["similarity"].maps}
    shift = maps["constant_shift.negative"]
    assert set(shift.values[0]) == {None}
    assert all(value is not None for value in shift.values[2])
    rows = result.measures["changes"].facts["ranked"]
    assert not any(r.change.series.layer == -1 and r.abrupt for r in rows)


def test_hidden_states_that_are_not_numbers_name_head_layer_and_step(quick):
    run = planted_run("switch", np.random.default_rng(0), steps=12)
    run.tables["residual/negative/0"][5, 3, 2] = np.inf
    failed = {one["measure"]: one for one in analyze(run, quick).findings["failed"]}
    assert {"linear_probes", "similarity"} <= failed.keys()
    for one in failed.values():
        assert one["error"] == "FitError"
        assert "head negative, layer 0 at step 5" in one["message"]


def test_a_change_as_wide_as_the_widest_shape_is_no_jump():
    from dataclasses import replace

    from critical_phase.analysis.jumps.change_points import reference
    from critical_phase.analysis.results import MeasureResult

    run = planted_run("switch", np.random.default_rng(0), width=0)
    points = analyze(run, AnalysisSettings(draws=50, smooth_draws=100)).measures["change_points"]
    name = f"accuracy.{points.facts['primary']}"
    found = points.facts["changes"][name]
    assert reference(points) is found
    wide = MeasureResult(
        "change_points",
        "",
        "",
        "",
        {},
        facts={
            "primary": points.facts["primary"],
            "changes": {name: replace(found, width_at_limit=True)},
        },
    )
    assert reference(wide) is None
