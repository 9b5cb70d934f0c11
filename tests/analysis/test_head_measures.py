"""What attention heads give and how the margin depends on them, with a planted head."""

from dataclasses import replace

import numpy as np
import pytest

from critical_phase.analysis import MEASURES, AnalysisSettings, planted_run, to_json
from critical_phase.analysis.activity.head_importance import head_importance, sign_test, spread_over
from critical_phase.analysis.activity.head_outputs import head_outputs
from critical_phase.analysis.jumps.across_jump import across, window_of
from critical_phase.analysis.jumps.change_points import reference
from critical_phase.analysis.planted.planted_arrays import progress

GROWTH = 0.5
"""What the planted attention head comes to write more, in units of the stream."""
PULL = 0.4
"""What the planted attention head comes to pull the margin by, in nats."""


def with_heads(run, rng, *, growth=GROWTH, gap=0.0, pull=PULL):
    """Norms and gradients of 2 x 2 attention heads, of which 1.0 of the negative head changes."""
    rows, steps = run.rows, run.step_list.size
    # Accuracy turns where margins cross zero, one checkpoint before they are half way.
    gain = np.append(progress("switch", steps)[1:], 1.0)
    tables = dict(run.tables)
    for head in run.heads:
        still = rng.uniform(1, 3, (1, 2, 2, rows.question.size))
        write = still + rng.normal(0, 0.02, (steps, 2, 2, rows.question.size))
        slope = rng.normal(0, 0.05, (steps, 2, 2, len(rows.question_ids)))
        if head == "negative":
            write[:, 1, 0] += gain[:, None] * (growth + gap * rows.correct)
            slope[:, 1, 0] += pull * gain[:, None]
        tables |= {
            f"heads/{head}/write": write.astype(np.float32),
            f"heads/{head}/output": (2 * write).astype(np.float32),
            f"heads/{head}/importance": slope[..., rows.question].astype(np.float32),
        }
    return replace(run, tables=tables)


@pytest.fixture(scope="module")
def settings():
    return AnalysisSettings(draws=100, permutations=99, smooth_draws=60)


@pytest.fixture(scope="module")
def world(settings):
    """A run whose margins switch, with the head that changes beside it, and what was found."""
    rng = np.random.default_rng(0)
    run = with_heads(planted_run("switch", rng, questions=100, width=0), rng)
    done = {}
    for name in ("curves", "change_points", "head_outputs", "head_importance", "changes"):
        done[name] = MEASURES[name](run, settings, done)
    return run, done


def cells(table):
    """Rows of a table by the names of its columns, those of the negative head first."""
    keys = [c["key"] for c in table.columns]
    rows = [dict(zip(keys, row, strict=True)) for row in table.rows]
    return sorted(rows, key=lambda row: row["head"])


def place(row):
    return row["head"], row["layer"], row["attention_head"]


def test_the_head_that_writes_more_is_found_with_its_size_and_its_window(world):
    first, *others = cells(world[1]["head_outputs"].tables[0])
    assert place(first) == ("negative", 1, 0)
    assert first["interval"][0] < GROWTH < first["interval"][1]
    assert first["across_interval"][0] < first["across"] < first["across_interval"][1]
    assert first["across"] > 0.7 * GROWTH
    assert abs(first["elsewhere"]) < 0.3 * GROWTH
    assert all(abs(row["change"]) < 0.05 for row in others)


def test_the_norms_are_mapped_by_head_and_step(world):
    run, done = world
    shown = {one.id: one for one in done["head_outputs"].maps}
    assert set(shown) == {f"head_{n}.{h}" for n in ("write", "output") for h in run.heads}
    grid = shown["head_write.negative"]
    assert grid.row_labels == ["0.0", "0.1", "1.0", "1.1"]
    mean = run.tables["heads/negative/write"][7, 1, 0].mean()
    assert grid.values[2][7] == pytest.approx(mean)
    assert grid.low[2][7] < mean < grid.high[2][7]


def test_the_planted_head_alone_is_abrupt_in_the_ranked_table(world):
    ranked = world[1]["changes"].facts["ranked"]
    for quantity in ("head_write", "head_importance"):
        of_heads = [r for r in ranked if r.change.series.quantity.startswith(quantity)]
        assert len(of_heads) == 8
        abrupt = [r.change.series for r in of_heads if r.abrupt]
        assert [(s.head, s.layer, s.attention_head) for s in abrupt] == [("negative", 1, 0)]


def test_the_head_that_carries_the_margin_is_found(world):
    result = world[1]["head_importance"]
    first, *others = cells(result.tables[0])
    assert place(first) == ("negative", 1, 0)
    assert first["effect_interval"][0] < PULL < first["effect_interval"][1]
    assert first["importance"] == pytest.approx(PULL, abs=0.05)
    assert first["p"] == 0.01
    assert first["across_interval"][0] > 0.2
    assert all(row["p"] > 0.05 for row in others)


def test_importance_gathers_in_the_head_that_carries_it_and_in_no_other(world):
    spread = {one.label: one for one in world[1]["head_importance"].curves}
    assert spread["negative"].value[0] > 3.8
    assert spread["negative"].value[-1] < 2
    assert spread["positive"].value[-1] > 3.8
    assert spread["negative"].low[-1] <= spread["negative"].value[-1] <= spread["negative"].high[-1]
    assert [line["value"] for line in spread["negative"].references] == [4.0]


def test_a_head_that_writes_more_on_right_answers_is_found_and_others_are_not(settings):
    rng = np.random.default_rng(1)
    run = with_heads(planted_run("flat", rng, steps=6, width=0), rng, gap=0.2)
    gaps = head_outputs(run, settings).facts["gaps"]
    best = gaps["negative"][0]
    assert (best.layer, best.attention_head, best.p) == (1, 0, 0.01)
    assert best.interval[0] < 0.2 < best.interval[1]
    assert gaps["positive"][0].p > 0.05


def test_signs_at_random_alarm_at_their_level():
    """2,000 draws of 40 questions and 12 heads without an effect, heads correlated."""
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(2000):
        shared = rng.normal(size=(40, 1))
        flips = rng.choice([-1.0, 1.0], (99, 40))
        alarms += sign_test(rng.normal(size=(40, 12)) + shared, flips).min() <= 0.05
    assert 70 <= alarms <= 130  # 5 % of 2,000, within three standard errors


def test_one_sign_per_question_gives_the_p_value_of_its_definition():
    values = np.array([[1.0], [1.0], [1.0]])
    flips = np.array([[a, b, c] for a in (1, -1) for b in (1, -1) for c in (1, -1)], dtype=float)
    assert sign_test(values, flips).tolist() == [(1 + 2) / (1 + 8)]
    assert sign_test(np.zeros((3, 2)), flips).tolist() == [1.0, 1.0]


def test_the_spread_of_importance_counts_heads():
    assert spread_over(np.full((1, 7), 0.2)).tolist() == pytest.approx([7.0])
    assert spread_over(np.array([[0.0, 3.0, 0.0]])).tolist() == [1.0]
    assert np.isnan(spread_over(np.zeros((1, 3)))).all()


def test_a_line_changes_no_more_across_the_jump_than_elsewhere(world):
    jump = reference(world[1]["change_points"])
    steps = world[0].step_list
    window = window_of(steps, jump)
    assert steps[window.before] < jump.tau < steps[window.after]
    line = np.repeat(0.1 * np.arange(steps.size)[:, None], 5, axis=1)
    found = across(line, window, np.full((20, 5), 0.2))
    assert found.change == pytest.approx(found.elsewhere)
    assert found.interval == pytest.approx((found.change, found.change))


@pytest.mark.parametrize("tau", [-3.0, 40.0])
def test_a_jump_outside_of_the_checkpoints_has_no_window(world, tau):
    run, done = world
    jump = replace(reference(done["change_points"]), tau=tau, interval=(tau - 1, tau + 1))
    assert window_of(run.step_list, jump) is None
    assert window_of(run.step_list, None) is None
    assert across(np.zeros((3, 2)), None, np.zeros((2, 2))) is None


def test_the_order_of_checkpoints_does_not_matter(quick):
    rng = np.random.default_rng(4)
    run = with_heads(planted_run("flat", rng, questions=20, steps=6, width=0), rng)
    order = rng.permutation(6)
    mixed = {k: v[order] if k.startswith("heads/") else v for k, v in run.tables.items()}
    other = replace(run, step_list=run.step_list[order], tables=mixed)
    for measure in (head_outputs, head_importance):
        assert to_json(measure(run, quick)) == to_json(measure(other, quick))


def test_what_was_not_collected_is_said_with_the_command_that_collects_it(quick):
    bare = planted_run("flat", np.random.default_rng(3), questions=20, steps=4, width=0)
    for measure, name in ((head_outputs, "head_output"), (head_importance, "head_importance")):
        (said,) = measure(bare, quick).warnings
        assert "was not collected" in said
        assert f"{name} --overwrite`" in said
