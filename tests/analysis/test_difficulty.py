from dataclasses import replace

import numpy as np
import pytest

from critical_phase.analysis import planted_run
from critical_phase.analysis.scores.difficulty import (
    NEVER,
    STRATA,
    base_margins,
    course,
    el2n,
    median_first,
    strata,
)
from critical_phase.analysis.scores.strata import difficulty, within


def test_el2n_by_hand(make_rows, rng):
    rows = make_rows([3], rng)
    rows.correct[:] = [True, False, False]
    gap = np.array([0.5 - 1, 0.3, 0.2])
    assert el2n(rows, np.log([0.5, 0.3, 0.2]))[0] == pytest.approx(np.sqrt((gap**2).sum()))


def test_el2n_lies_between_sure_and_right_and_sure_and_wrong(make_rows, rng):
    rows = make_rows([4, 2, 3], rng)
    assert el2n(rows, 1e3 * rows.correct) == pytest.approx(np.zeros(3), abs=1e-12)
    wrong = np.array([1e3 * (i == np.argmin(rows.correct[rows.question == q]))
                      for q in range(3) for i in range((rows.question == q).sum())])  # fmt: skip
    assert el2n(rows, wrong) == pytest.approx(np.full(3, np.sqrt(2)))


def test_quarters_follow_the_base_margin_and_hold_a_quarter_each(rng):
    margin = rng.normal(size=40)
    found = strata(margin)
    assert np.bincount(found).tolist() == [10, 10, 10, 10]
    assert margin[found == 0].max() < margin[found == 1].min()
    assert STRATA[0] == "near_impossible"
    assert strata(np.zeros(8)).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_quarters_are_those_of_training():
    from critical_phase.checkpoints import difficulty as training

    margin = np.random.default_rng(1).normal(size=17)
    theirs = training.strata({f"q{i}": float(m) for i, m in enumerate(margin)})
    assert [theirs[f"q{i}"] for i in range(17)] == [STRATA[s] for s in strata(margin)]


def test_staying_right_and_flips_by_hand():
    right = np.array([[1, 0, 0, 1], [1, 1, 0, 0], [1, 0, 1, 1], [1, 1, 1, 0]], dtype=bool)
    found = course(right)
    assert found.first.tolist() == [0, 3, 2, NEVER]
    assert found.flips.tolist() == [0, 3, 1, 3]


def test_the_median_is_never_where_half_are_wrong_at_the_end():
    steps, equal = np.array([0, 4, 8]), np.full((1, 4), 0.25)
    assert median_first(np.array([0, 1, 2, 2]), steps, equal)[0] == 4
    assert np.isinf(median_first(np.array([0, NEVER, NEVER, NEVER]), steps, equal)[0])


def test_weights_of_some_questions_add_up_to_one_in_every_draw():
    weights = np.array([[0.5, 0.5, 0.0, 0.0], [0.0, 0.25, 0.75, 0.0]])
    found = within(weights, np.array([1, 3]))
    np.testing.assert_allclose(found, [[1, 0], [1, 0]])
    np.testing.assert_allclose(within(weights, np.array([3])), [[1], [1]])


def rows_of(result, name):
    table = next(t for t in result.tables if t.id == name)
    return [dict(zip([c["key"] for c in table.columns], row, strict=True)) for row in table.rows]


def test_a_planted_switch_is_learned_at_the_switch(rng, quick):
    run = planted_run("switch", rng, questions=120, steps=33, width=0)
    result = difficulty(run, quick)
    learned = [r["first"] for r in rows_of(result, "questions") if r["course"] == "learned"]
    assert np.median(learned) == pytest.approx(16, abs=1)
    assert len(rows_of(result, "questions")) == 120


def test_quarters_start_in_order_and_say_why_that_proves_nothing(rng, quick):
    result = difficulty(planted_run("switch", rng, questions=120, width=0), quick)
    rows = rows_of(result, "strata")
    assert [r["stratum"] for r in rows] == ["easy", "middle", "hard", "near impossible"]
    assert rows[0]["margin_low"] > rows[-1]["margin_high"]
    assert all("regression to the mean" in c.caption for c in result.curves)
    assert all(c.n == 30 for c in result.curves)


def test_noise_alone_regresses_to_the_mean(make_rows, rng, quick):
    run = planted_run("flat", rng, questions=200, width=0, heads=("positive",))
    run.tables["scores/positive"][1:] += rng.normal(0, 1.0, run.rows.question.size)
    rows = {r["stratum"]: r for r in rows_of(difficulty(run, quick), "strata")}
    assert rows["near impossible"]["last"] > rows["near impossible"]["first"]
    assert rows["easy"]["last"] < rows["easy"]["first"]


def test_the_hardest_quarter_is_wrong_under_the_base(make_rows, rng):
    rows = make_rows([4] * 40, rng)
    margin = base_margins(rows, rng.normal(size=160))
    assert (margin[strata(margin) == 0] < 0).all()


def test_no_head_no_questions(rng, quick):
    result = difficulty(planted_run("flat", rng, heads=(), width=0), quick)
    assert result.tables == ()
    assert len(result.warnings) == 1


def test_the_chance_of_a_quarter_is_that_of_its_own_questions(rng, quick):
    run = planted_run("switch", rng, questions=40, width=0)
    rows = run.rows
    # Easy questions keep two candidates, so their chance is above that of all together.
    easy = strata(base_margins(rows, run.base_scores())) == 3
    wrong = np.flatnonzero(easy[rows.question] & ~rows.correct)
    extra = [r for r in wrong if rows.question[r] == rows.question[r - 1]][::2]
    kept = np.setdiff1d(np.arange(rows.question.size), extra)
    parts = {
        name: getattr(rows, name)[kept]
        for name in ("question", "correct", "characters", "tokens", "bytes")
    }
    few = replace(rows, **parts, texts=tuple(rows.texts[r] for r in kept))
    assert np.bincount(few.question).min() >= 2
    tables = {k: v[..., kept] if k.startswith("scores/") else v for k, v in run.tables.items()}
    cut = replace(run, rows=few, tables=tables)
    levels = {
        line["label"]: line["value"]
        for curve in difficulty(cut, quick).curves
        for line in curve.references
    }
    assert set(levels) == {
        f"chance, {name}" for name in ("easy", "middle", "hard", "near impossible")
    }
    assert levels["chance, easy"] > levels["chance, near impossible"] == 0.25
