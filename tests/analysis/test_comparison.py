"""Runs side by side: planted differences, pairing, and what cannot be compared."""

from dataclasses import replace

import numpy as np
import pytest

from critical_phase.analysis import AnalysisSettings, planted_run
from critical_phase.analysis.many_runs.comparison import comparison, shared_questions
from critical_phase.analysis.many_runs.comparison_table import ONE, comparison_table
from critical_phase.errors import ConfigError

STEPS = 17


@pytest.fixture(scope="module")
def settings():
    return AnalysisSettings(draws=200, smooth_draws=100, modes=("likra", "sft"))


def world(kind, **extra):
    return planted_run(kind, np.random.default_rng(0), questions=80, steps=STEPS, **extra)


def retold(seed=1):
    """The same questions and jump, other noise at every checkpoint."""
    run, rng = world("switch"), np.random.default_rng(seed)
    for name in ("scores/negative", "scores/positive"):
        noise = rng.normal(0, 0.05, run.tables[name].shape)
        noise[0] = 0
        run.tables[name] = run.tables[name] + noise
    return run


def three():
    return {"jumps": world("switch"), "still": world("flat"), "again": retold()}


@pytest.fixture(scope="module")
def found(settings):
    return comparison(three(), settings)


def rows_of(result):
    keys = [column["key"] for column in result.tables[0].columns]
    return {(row[0], row[1]): dict(zip(keys, row, strict=True)) for row in result.tables[0].rows}


def test_a_run_that_stays_is_lower_and_one_that_jumps_too_is_not(found):
    rows = rows_of(found)
    assert rows["still", "likra"]["difference_high"] < 0
    again = rows["again", "likra"]
    assert again["difference_low"] <= 0 <= again["difference_high"]
    assert rows["jumps", "likra"]["difference"] is None
    assert "still" in found.facts["sentence"]
    assert "(lower:" in found.facts["sentence"]


def test_places_are_given_only_where_a_change_is_abrupt(found):
    rows = rows_of(found)
    assert rows["jumps", "likra"]["verdict"] == "abrupt"
    assert rows["jumps", "likra"]["tau"] == pytest.approx(8 * 8, abs=8)
    assert (rows["still", "likra"]["verdict"], rows["still", "likra"]["tau"]) == (
        "not abrupt",
        None,
    )
    again = rows["again", "likra"]
    assert again["lead_low"] <= 0 <= again["lead_high"]


def test_a_difference_is_paired_over_questions(settings):
    # A run of the same scores but for five questions: paired, its interval is that of the five.
    one, two = world("flat"), world("flat")
    few = two.rows.question < 5
    table = two.tables["scores/negative"].copy()
    table[:, few & two.rows.correct] -= 50
    two.tables["scores/negative"] = table
    row = rows_of(comparison({"one": one, "two": two}, settings))["two", "likra"]
    width = row["difference_high"] - row["difference_low"]
    assert width < 0.75 * (row["last_high"] - row["last_low"])
    assert row["difference"] == pytest.approx(row["last"] - rows_of(
        comparison({"two": two, "one": one}, settings))["one", "likra"]["last"])  # fmt: skip


def test_equal_scores_are_said_and_not_drawn(settings):
    result = comparison({"a": world("switch"), "b": world("switch")}, settings)
    assert "likra is the same in b and a, margin for margin" in result.warnings
    assert not [c for c in result.curves if c.group.startswith("difference")]
    assert result.warnings[0] == ONE


def test_only_shared_questions_count(settings):
    one, two = world("switch"), world("switch")
    names = tuple(f"other{i}" if i < 30 else q for i, q in enumerate(two.rows.question_ids))
    other = replace(two, rows=replace(two.rows, question_ids=names))
    result = comparison({"one": one, "two": other}, settings)
    assert len(result.facts["questions"]) == 50
    assert any("two was asked 80 questions; 50 are shared" in note for note in result.warnings)
    assert {curve.n for curve in result.curves} == {50}


def test_batches_of_two_sizes_are_compared_by_examples(settings):
    one = world("switch")
    two = replace(retold(), batch_size=2 * one.batch_size)
    result = comparison({"one": one, "two": two}, settings)
    (lines,) = ([c for c in result.curves if c.group == "accuracy.likra"],)
    assert [c.steps[-1] for c in lines] == [c.examples[-1] for c in lines]
    assert lines[1].steps[-1] == 2 * lines[0].steps[-1]
    assert any("different sizes" in note for note in result.warnings)


def test_what_cannot_be_compared_is_refused(settings):
    one = world("switch")
    with pytest.raises(ConfigError, match="asked to compare 1 runs"):
        comparison({"one": one}, settings)
    apart = replace(one, rows=replace(one.rows, question_ids=tuple(f"x{i}" for i in range(80))))
    with pytest.raises(ConfigError, match="0 questions are in all of one, two"):
        comparison({"one": one, "two": apart}, settings)
    turned = replace(one, rows=replace(one.rows, correct=np.roll(one.rows.correct, 1)))
    with pytest.raises(ConfigError, match="other candidates in two than in one"):
        shared_questions({"one": one.rows, "two": turned.rows})
    heads = world("switch", heads=("negative",)), world("switch", heads=("positive",))
    with pytest.raises(ConfigError, match="no run has a mode of"):
        comparison(dict(zip(("one", "two"), heads, strict=True)), settings)


def test_equal_settings_give_equal_tables(found, settings):
    assert comparison(three(), settings).tables == found.tables


def test_no_lead_is_given_on_a_place_that_adjusting_took_away(found):
    lines, weights = found.facts["lines"], np.full((200, 80), 1 / 80)
    kept = [line for line in lines if line.mode == "likra" and line.run != "still"]
    lost = [replace(line, p_adjusted=0.2) if line.run == "jumps" else line for line in kept]
    for some, given in ((kept, True), (lost, False)):
        table = comparison_table(some, "jumps", weights, 8)
        keys = [column["key"] for column in table.columns]
        rows = {row[0]: dict(zip(keys, row, strict=True)) for row in table.rows}
        assert (rows["again"]["lead"] is not None) == given
        assert rows["again"]["tau"] is not None
