"""Rules that need no model, with what gives the answer away planted or absent."""

from dataclasses import replace

import numpy as np
import pytest

from critical_phase.analysis import planted_run
from critical_phase.analysis.scores.baselines import baselines
from critical_phase.analysis.scores.normalisations import normalisations
from critical_phase.analysis.scores.surface import (
    bag_of_words,
    guess_from_words,
    overlap,
    place_hits,
    rule_hits,
    within_correlation,
    words,
)


def with_texts(rows, texts):
    return replace(rows, texts=tuple(texts))


@pytest.fixture
def rows(make_rows, rng):
    """Eighty questions of four answers, of words drawn at random."""
    made = make_rows([4] * 80, rng)
    pool = [f"w{i}" for i in range(12)]
    return with_texts(made, [" ".join(rng.choice(pool, 4)) for _ in made.texts])


def test_words_are_compared_without_case_and_marks():
    assert words("The Sky, (it's) été!") == ["the", "sky", "it", "s", "été"]


def test_a_rule_ties_as_accuracy_does(make_rows, rng):
    rows = make_rows([4, 2], rng)
    np.testing.assert_array_equal(rule_hits(rows, np.zeros(6)), [0.25, 0.5])
    assert rule_hits(rows, rows.correct.astype(float)).tolist() == [1.0, 1.0]


def test_overlap_is_the_share_of_the_answers_own_words(make_rows, rng):
    rows = with_texts(make_rows([4], rng), ["the sky", "Sky blue", "", "grass is"])
    found = overlap(rows, ("What colour is the sky?",))
    np.testing.assert_array_equal(found, [1.0, 0.5, 0.0, 0.5])


def test_a_word_that_marks_right_answers_is_found(rows):
    marked = [
        t + (" all of these" if c else " none")
        for t, c in zip(rows.texts, rows.correct, strict=True)
    ]
    found = guess_from_words(with_texts(rows, marked), 40, np.random.default_rng(0))
    assert found.hits.mean() == 1.0
    assert found.p == pytest.approx(1 / 41)


def test_random_words_give_nothing_away(rows):
    found = guess_from_words(rows, 100, np.random.default_rng(0))
    assert found.p > 0.05
    # The best of several penalties, so both stand a little above chance.
    assert abs(found.hits.mean() - found.null.mean()) < 3 * found.null.std()
    assert abs(found.null.mean() - 0.25) < 0.1


def test_words_of_one_question_alone_are_not_learned_from(make_rows, rng):
    rows = make_rows([4] * 10, rng)
    marks = zip(rows.question, rows.correct, strict=True)
    own = with_texts(rows, [f"right{q}" if c else "no" for q, c in marks])
    assert bag_of_words(own).shape == (40, 1)
    alone = with_texts(rows, [f"a{i}" for i in range(40)])
    assert guess_from_words(alone, 20, rng) is None


def test_rare_words_weigh_more_by_the_written_formula(make_rows, rng):
    rows = with_texts(make_rows([2, 2], rng), ["a a b", "a", "b", "a"])
    # Columns by how many answers hold the word: a in 3 of 4, b in 2.
    idf = np.log(5 / np.array([4, 3])) + 1
    expected = np.array([[2, 1], [1, 0], [0, 1], [1, 0]]) * idf
    np.testing.assert_allclose(bag_of_words(rows), expected)


def test_the_most_frequent_place_is_taken_from_other_questions(make_rows, rng):
    rows = make_rows([4] * 5, rng)
    first = np.tile([True, False, False, False], 5)
    assert place_hits(replace(rows, correct=first)).tolist() == [1.0] * 5
    # Alone at its place, with the others elsewhere: its own label must not count.
    moved = first.copy()
    moved[:2] = [False, True]
    assert place_hits(replace(rows, correct=moved)).tolist() == [0.0, 1, 1, 1, 1]


def test_correlation_within_questions_ignores_their_level(rows, rng):
    one = rng.normal(size=320)
    shifted = -2 * one + rng.normal(0, 9, 80)[rows.question]
    np.testing.assert_allclose(within_correlation(rows, one, shifted), -1.0)
    np.testing.assert_array_equal(within_correlation(rows, one, np.ones(320)), 0.0)
    assert abs(within_correlation(rows, one, rng.normal(size=320)).mean()) < 0.2


def table_of(result, name="baselines"):
    found = next(t for t in result.tables if t.id == name)
    return {row[0]: row for row in found.rows}


@pytest.fixture
def run(rng):
    return planted_run("switch", rng, questions=80, width=0, contexts=("answer_only", "domain"))


def test_a_planted_length_is_the_best_rule(run, quick):
    lengths = np.where(run.rows.correct, 30, 10)
    found = table_of(baselines(replace(run, rows=replace(run.rows, characters=lengths)), quick))
    assert found["longest in characters"][1] == 1.0
    assert found["longest in characters"][2][0] < 1.0
    assert found["shortest in characters"][1] == 0.0


def test_a_head_that_learns_the_prior_is_seen(run, quick):
    prior = run.tables["context/answer_only/base"]
    for size, head in ((0.5, "negative"), (-0.5, "positive")):
        run.tables[f"scores/{head}"][1:] = run.tables["scores/base"] + size * prior
    found = baselines(run, quick).facts["baselines"]["prior_correlation"]
    assert found["negative"]["value"] == pytest.approx(1.0)
    assert found["positive"]["value"] == pytest.approx(-1.0)


def test_a_head_that_learns_something_else_is_not(run, quick):
    found = baselines(run, quick).facts["baselines"]["prior_correlation"]["negative"]
    assert found["interval"][0] < 0.1
    assert found["interval"][1] > -0.1


def test_the_answer_alone_agrees_with_the_table_of_contexts(run, quick):
    found = baselines(run, quick).facts["baselines"]["answer_only"]["base_likra"]
    table = next(t for t in normalisations(run, quick).tables if t.id == "contexts")
    row = next(r for r in table.rows if r[:2] == ["base_likra", "answer alone"])
    assert (found["step"], found["accuracy"], found["with_question"]) == (row[3], row[4], row[6])
    assert found["difference_interval"][0] > 0.3  # the gain was planted in the question


def test_the_base_and_the_end_of_the_run_stand_beside_the_rules(run, quick):
    found = table_of(baselines(run, quick))
    assert {"base model", "base model, answer alone", "base model, PMI_DC",
            "likra at the last step"} <= set(found)  # fmt: skip


def test_missing_texts_and_contexts_are_said(rng, quick):
    run = planted_run("flat", rng, width=0)
    result = baselines(replace(run, rows=with_texts(run.rows, [""] * len(run.rows.texts))), quick)
    assert result.warnings[0] == "the run holds no texts, so words were not compared"
    assert "--contexts answer_only,domain" in result.warnings[1]
    assert "bag of words" not in table_of(result)
