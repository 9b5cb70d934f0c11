import numpy as np
import pytest

from critical_phase.analysis import Rows, normalise, planted_run
from critical_phase.analysis.scores.contexts import context_label
from critical_phase.analysis.scores.normalisation import NORMALISATIONS, pmi_dc
from critical_phase.analysis.scores.normalisations import normalisations
from critical_phase.errors import ConfigError, ShapeError

BLIND = ("answer_only", "domain", "shuffled", "filler", "shots-5")


def pair(texts=("cat", "émeraude")):
    """One question with two candidates; the first is right."""
    return Rows(
        np.zeros(2, int),
        np.array([True, False]),
        np.array([len(text) for text in texts]),
        np.array([1, 4]),
        ("q",),
        ("g",),
        texts,
        np.array([len(text.encode()) for text in texts]),
    )


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("sum", [-6, -8]),
        ("per_char", [-2, -1]),
        ("per_token", [-6, -2]),
        ("per_byte", [-2, -8 / 9]),
    ],
)
def test_scores_are_divided_by_what_is_counted(how, expected):
    found = normalise(pair(), np.array([-6.0, -8.0]), how)
    np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_an_empty_answer_counts_as_one_long():
    rows = pair(("", "b"))
    assert normalise(rows, np.array([-3.0, -1.0]), "per_char")[0] == -3.0


def test_any_axes_before_the_rows_are_kept(make_rows, rng):
    rows = make_rows([3, 2], rng)
    values = rng.normal(size=(2, 4, 5))
    for how in NORMALISATIONS:
        one = normalise(rows, values[1, 2], how)
        np.testing.assert_array_equal(normalise(rows, values, how)[1, 2], one)


def test_pmi_takes_the_prior_out_and_not_in():
    # log P(a|q) = -2 after a premise that gives -5: the question raised it by 3 nats.
    assert pmi_dc(np.array([-2.0]), np.array([-5.0])) == 3.0


def test_bad_names_and_sizes_are_refused():
    with pytest.raises(ConfigError, match="asked for acc, known are sum, per_char"):
        normalise(pair(), np.zeros(2), "acc")
    with pytest.raises(ShapeError, match="2 rows, but 3 scores"):
        normalise(pair(), np.zeros(3), "sum")


def table_of(result, name):
    found = next(t for t in result.tables if t.id == name)
    keys = [c["key"] for c in found.columns]
    return [dict(zip(keys, row, strict=True)) for row in found.rows]


@pytest.fixture
def switch(rng):
    return planted_run("switch", rng, questions=100, width=0, contexts=BLIND)


def test_every_mode_has_every_rule_and_the_sum_is_the_accuracy_of_the_curves(switch, quick):
    from critical_phase.analysis.scores.likelihood import curves

    rows = table_of(normalisations(switch, quick), "normalisations")
    likra = {r["normalisation"]: r["last"] for r in rows if r["mode"] == "likra"}
    assert list(likra) == ["sum", "per character", "per token", "per byte"]
    accuracy = curves(switch, quick).facts["accuracy"]["likra"]
    assert likra["sum"] == accuracy["last"]
    assert {r["mode"] for r in rows if r["normalisation"] == "PMI_DC"} == {
        "base", "positive", "negative"
    }  # fmt: skip


def test_hiding_the_question_loses_a_gain_that_was_planted_in_it(switch, quick):
    rows = [r for r in table_of(normalisations(switch, quick), "contexts") if r["mode"] == "likra"]
    blind = {r["context"]: r for r in rows}
    for name in BLIND[:4]:
        found = blind[context_label(name)]
        assert found["blind"] == "yes"
        assert found["difference_interval"][0] > 0.3
    assert abs(blind["5 demonstrations"]["difference"]) < 0.1
    assert blind["5 demonstrations"]["blind"] == "no"


def test_rules_that_never_differ_share_a_line(switch, quick):
    # In the planted run an answer has five characters and six bytes per token.
    labels = [c.label for c in normalisations(switch, quick).curves if c.group == "normalised.sft"]
    assert labels == ["sum", "per character, per token, per byte"]


def test_contexts_share_the_chart_of_their_mode(switch, quick):
    lines = [c for c in normalisations(switch, quick).curves if c.group == "context.sft"]
    assert [c.label for c in lines] == ["its question", *map(context_label, BLIND)]


def test_an_empty_premise_shares_the_line_of_the_answer_alone(switch, quick):
    for name in ("base", *switch.heads):
        switch.tables[f"context/domain/{name}"] = switch.tables[f"context/answer_only/{name}"]
    lines = [c for c in normalisations(switch, quick).curves if c.group == "context.sft"]
    assert "answer alone = premise alone" in [c.label for c in lines]
    assert len(lines) == len(BLIND)
    assert any("share one line" in c.caption for c in lines)


def test_without_contexts_the_command_is_named_once(rng, quick):
    result = normalisations(planted_run("flat", rng, width=0), quick)
    assert len(result.warnings) == 1
    assert "probe collect RUN --contexts answer_only" in result.warnings[0]
    assert [t.id for t in result.tables] == ["normalisations"]


def test_missing_steps_of_a_context_are_named_and_the_rest_is_used(switch, quick):
    for head in switch.heads:
        key = f"context/filler/{head}"
        switch.tables[key] = switch.tables[key][:3]
    result = normalisations(switch, quick)
    assert result.warnings == (
        "filler: no scores of the positive and negative head at 22 steps"
        " (3, 4, 5, 6, 7, 8, 9, 10, ...)",
    )
    row = next(r for r in table_of(result, "contexts") if r["context"] == "filler text"
               and r["mode"] == "sft")  # fmt: skip
    assert row["step"] == 2


def test_pmi_of_questions_without_a_text_is_undefined_and_not_a_crash(switch, quick):
    for name in ("base", *switch.heads):
        switch.tables[f"context/domain/{name}"] = switch.tables[f"scores/{name}"].copy()
    result = normalisations(switch, quick)
    assert not [row for row in table_of(result, "normalisations") if row["mode"] == "base"
                and row["normalisation"] == "PMI_DC"]  # fmt: skip
