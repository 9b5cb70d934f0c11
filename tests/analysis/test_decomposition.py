import numpy as np
import pytest

from critical_phase.analysis import planted_run
from critical_phase.analysis.scores.decomposition import decomposition, gains_of
from critical_phase.analysis.scores.likelihood import curves


def set_heads(run, positive, negative):
    """Scores whose last step gives each head a planted gain on the right answers."""
    rng = np.random.default_rng(1)
    base = rng.normal(-20, 1, run.rows.question.size)
    run.tables["scores/base"][:] = base
    time = np.linspace(0, 1, run.step_list.size)[:, None]
    # A head alone is its own direction: the negative one subtracts the base away at w = 1.
    run.tables["scores/positive"][:] = base + time * positive * run.rows.correct
    taste = rng.normal(0, 1, base.size) - base
    run.tables["scores/negative"][:] = np.where(
        time > 0, base - time * negative * run.rows.correct + taste * time, base
    )
    return run


@pytest.fixture
def run(rng):
    return planted_run("flat", rng, questions=200, width=0)


def test_the_parts_add_up_to_the_whole_on_every_question(run):
    found = gains_of(set_heads(run, 2.0, 3.0), 1.0)
    parts = found.parts
    total = parts["positive"] + parts["negative"] + parts["interaction"]
    np.testing.assert_allclose(total, parts["total"], atol=1e-12)
    np.testing.assert_allclose(parts["positive_added"] + parts["negative"], parts["total"])
    np.testing.assert_allclose(parts["negative_added"] + parts["positive"], parts["total"])


def test_the_whole_gain_is_that_of_the_accuracy_table(run, quick):
    set_heads(run, 2.0, 3.0)
    accuracy = curves(run, quick).facts["accuracy"]
    found = decomposition(run, quick).facts["decomposition"]
    assert found["total"]["value"] == pytest.approx(
        accuracy["likra"]["last"] - accuracy["base"], abs=1e-12
    )
    assert found["positive"]["value"] == pytest.approx(
        accuracy["sft"]["last"] - accuracy["base"], abs=1e-12
    )


def test_a_gain_of_the_positive_head_is_given_to_it(run, quick):
    found = decomposition(set_heads(run, 4.0, 0.0), quick).facts["decomposition"]
    assert found["positive"]["interval"][0] > 0.4
    assert found["negative"]["interval"][1] < 0.1


def test_heads_that_answer_the_same_questions_have_a_negative_interaction(run, quick):
    result = decomposition(set_heads(run, 9.0, 9.0), quick)
    found = result.facts["decomposition"]
    assert found["interaction"]["interval"][1] < -0.4
    assert found["negative_added"]["interval"] == [0.0, 0.0]
    rows = {row[0]: row for row in result.tables[0].rows}
    assert rows["interaction"][3] == pytest.approx(-1.0, abs=0.05)


def test_without_a_gain_there_are_no_shares(run, quick):
    table = decomposition(set_heads(run, 0.0, 0.0), quick).tables[0]
    assert all(row[3] is None for row in table.rows)


def test_step_zero_is_undefined_and_left_out(run, quick):
    lines = decomposition(set_heads(run, 2.0, 3.0), quick).curves
    assert [line.label for line in lines][-1] == "interaction"
    assert all(line.steps[0] == 1 for line in lines)


def test_one_head_is_not_split(rng, quick):
    result = decomposition(planted_run("flat", rng, width=0, heads=("negative",)), quick)
    assert result.warnings == ("the gain was not split: it needs both heads",)
    assert result.facts["decomposition"] == {}
