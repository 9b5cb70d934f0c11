"""Attention by kind of token, on right against wrong answers, and heads that moved."""

from types import SimpleNamespace

import numpy as np
import pytest

from critical_phase.analysis import AnalysisSettings, MeasureResult, planted_run
from critical_phase.analysis.activity.attention_moves import attention_moves
from critical_phase.analysis.activity.attention_spans import attention_spans
from critical_phase.analysis.jumps.ranked_change import RankedChange
from critical_phase.analysis.probing.random_labels import random_labels
from critical_phase.analysis.scores.margin import by_label


def looking(run, masses):
    """Return a planted run whose attention summaries are given, everything else its own."""
    kind = type("Looking", (type(run),), {"attention_summary": lambda _, head: masses[head]})
    return kind(**{name: getattr(run, name) for name in run.__dataclass_fields__})


def summaries(run, rng, gap):
    """Masses of which one attention head of the negative head comes to mark right answers."""
    steps, rows = run.step_list.size, run.rows.question.size
    found = {}
    for head in run.heads:
        mass = {
            name: rng.uniform(0.1, 0.2, (1, 2, 2, rows)) + rng.normal(0, 0.01, (steps, 2, 2, rows))
            for name in ("question_mass", "answer_mass")
        }
        mass["induction_mass"] = np.zeros((steps, 2, 2, rows))
        found[head] = mass
    found["negative"]["question_mass"][-1, 1, 0] += gap * run.rows.correct
    return found


@pytest.fixture
def settings():
    return AnalysisSettings(draws=200, permutations=99)


def test_the_first_naming_is_the_truth_and_every_naming_compares_within_questions(rng, make_rows):
    rows = make_rows([2, 4, 4, 3], rng)
    values, table = rng.normal(size=13), random_labels(rows, 5, rng)
    right, wrong = by_label(rows, values[None])
    assert table[0] @ values == pytest.approx(float((right - wrong).mean()))
    question = rng.normal(size=4)[rows.question]
    np.testing.assert_allclose(table @ question, 0, atol=1e-12)


def test_the_head_that_marks_right_answers_is_found_with_its_size(rng, settings):
    run = planted_run("flat", rng)
    result = attention_spans(looking(run, summaries(run, rng, 0.02)), settings)
    best, other = result.facts["gaps"]["negative"][0], result.facts["gaps"]["positive"][0]
    assert (best.span, best.layer, best.attention_head) == ("question_mass", 1, 0)
    assert best.interval[0] < 0.02 < best.interval[1]
    assert best.p == 0.01
    assert other.p > 0.05


def test_heads_that_treat_all_answers_alike_are_not_found():
    alarms = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        run = planted_run("flat", rng, questions=40, steps=4)
        found = attention_spans(
            looking(run, summaries(run, rng, 0.0)), AnalysisSettings(draws=20, permutations=39)
        ).facts["gaps"]
        alarms += found["negative"][0].p <= 0.05
    assert alarms <= 4  # 5 % of 20, at most 4 in 99.7 % of draws


def test_masses_are_mapped_by_layer_and_those_that_are_zero_are_not(rng, settings):
    run = planted_run("flat", rng)
    given = summaries(run, rng, 0.0)
    result = attention_spans(looking(run, given), settings)
    shown = {one.id: one for one in result.maps}
    assert set(shown) == {f"{n}.{h}" for n in ("question_mass", "answer_mass") for h in run.heads}
    mean = given["negative"]["question_mass"][3, 1].mean()
    assert shown["question_mass.negative"].values[1][3] == pytest.approx(mean)


class Ranked(RankedChange):
    """A row of the ranked table with only what a grid of attention heads needs."""

    abrupt, verdict = False, "smooth"

    def __init__(self, head, layer, at, *, size=0.2, tau=10.0):
        series = SimpleNamespace(
            quantity=f"attention_js.{head}", head=head, layer=layer, attention_head=at,
            value=np.array([0.0, size]), per_question=np.array([[0.0] * 60, [size] * 60]),
        )  # fmt: skip
        found = SimpleNamespace(series=series, size=size, tau=tau, interval=(tau - 1, tau + 1))
        object.__setattr__(self, "change", found)
        object.__setattr__(self, "p_adjusted", 0.01)


class Abrupt(Ranked):
    abrupt, verdict = True, "abrupt"


def test_heads_light_up_at_their_own_step_with_the_size_of_their_change(rng, quick):
    run = planted_run("flat", rng)
    ranked = [Abrupt("negative", 1, 0), Ranked("negative", 0, 1)]
    facts = {"ranked": ranked, "weights": np.full((5, 60), 1 / 60)}
    done = {"changes": MeasureResult("changes", "", "", "", {}, facts=facts)}
    result = attention_moves(run, quick, done)
    grid = result.maps[0]
    assert grid.row_labels == ["0.1", "1.0"]
    assert grid.values[0] == [None] * 25
    assert grid.values[1] == [0.0] * 10 + [0.2] * 15
    assert result.facts["moves"] == {"negative": {"tested": 2, "abrupt": 1}}
    assert [row[1:4] for row in result.tables[0].rows] == [[1, 0, "abrupt"], [0, 1, "smooth"]]


def test_what_is_missing_is_said_in_one_warning(rng, quick):
    bare = planted_run("switch", rng, width=0)
    assert attention_spans(bare, quick).warnings == ("no attention was given: not computed",)
    assert attention_moves(bare, quick).warnings == (
        "the ranked changes were not given: not computed",
    )
