import numpy as np
import pytest

from critical_phase.analysis import AnalysisSettings, Rows, planted_run
from critical_phase.analysis.inputs import check_rows
from critical_phase.analysis.scores.curves import available_modes, combine, primary_mode, top_hits
from critical_phase.analysis.scores.likelihood import curves
from critical_phase.analysis.scores.margin import by_label, margins, right_pairs
from critical_phase.errors import ConfigError, FitError, ShapeError


def four(right):
    correct, one = np.arange(4) == right, np.ones(4, int)
    return Rows(np.zeros(4, int), correct, one, one, ("q",), ("g",), ("",) * 4, one)


@pytest.mark.parametrize(("right", "expected"), [(0, 0.5), (1, 0.5), (2, 0.0)])
def test_a_partial_tie_counts_one_over_the_number_tied(right, expected):
    hits = top_hits(four(right), np.array([[1.0, 1, 0, 0]]))
    assert hits.value[0, 0] == expected
    assert hits.tied[0] == 1


@pytest.mark.parametrize("right", [0, 3])
def test_all_equal_scores_are_undefined_and_never_the_first_candidate(right):
    hits = top_hits(four(right), np.zeros((1, 4)))
    assert np.isnan(hits.value).all()
    assert hits.all_equal[0] == 1


def test_questions_of_different_sizes_keep_their_places(make_rows, rng):
    rows = make_rows([2, 4, 3, 4, 2], rng)
    scores = rng.normal(size=(3, rows.question.size))
    slow = np.empty((3, 5))
    for q in range(5):
        own = rows.question == q
        slow[:, q] = np.argmax(scores[:, own], axis=1) == np.argmax(rows.correct[own])
    np.testing.assert_array_equal(top_hits(rows, scores).value, slow)


def test_margin_pairs_and_labels_match_the_slow_formula(make_rows, rng):
    rows = make_rows([2, 4, 3], rng)
    scores = rng.normal(size=(1, rows.question.size))
    for q in range(3):
        own = rows.question == q
        right, wrong = scores[0][own & rows.correct][0], scores[0][own & ~rows.correct]
        assert margins(rows, scores)[0, q] == right - wrong.max()
        assert right_pairs(rows, scores)[0, q] == pytest.approx(np.mean(right > wrong))
        assert by_label(rows, scores)[1][0, q] == pytest.approx(wrong.mean())


def test_accuracy_of_a_direction_does_not_depend_on_its_scale(make_rows, rng):
    rows = make_rows([4] * 1000, rng)
    u = rng.normal(size=4000) + 1.6 * rows.correct
    accuracy = [np.mean(top_hits(rows, s * u[None]).value) for s in (1e-4, 1e-2, 1)]
    assert len(set(accuracy)) == 1
    assert accuracy[0] == pytest.approx(0.729, abs=0.045)  # three standard errors of Q = 1000


def test_noise_on_a_growing_score_fakes_a_critical_phase(make_rows, rng):
    rows = make_rows([4] * 1000, rng)
    u = rng.normal(size=4000) + 1.6 * rows.correct
    noise = rng.normal(size=4000) * 0.02
    low, high = (np.mean(top_hits(rows, (s * u + noise)[None]).value) for s in (1e-4, 1))
    assert low == pytest.approx(0.243, abs=0.045)
    assert high == pytest.approx(0.733, abs=0.045)


def test_modes_need_their_heads():
    assert available_modes(("negative",), ("likra", "sft", "base_likra")) == ("base_likra",)
    assert primary_mode(("positive",), ("likra", "sft", "base_likra", "pos_base")) == "sft"
    assert primary_mode((), ("likra",)) is None


def test_likra_is_undefined_before_any_head_moved(rng, quick):
    result = curves(planted_run("switch", rng), quick)
    line = next(c for c in result.curves if c.id == "accuracy.likra")
    assert line.steps[0] == 1
    assert any("equal at step 0" in note for note in result.warnings)


def test_combining_uses_only_shared_steps(rng):
    run = planted_run("switch", rng)
    assert combine(run, "likra", 0.5).values == pytest.approx(
        run.scores("positive") - 0.5 * run.scores("negative")
    )


def test_a_score_that_is_not_a_number_names_head_step_and_row(rng, quick):
    run = planted_run("switch", rng)
    run.tables["scores/negative"][3, 7] = np.nan
    with pytest.raises(FitError, match="head negative at step 3, row 7"):
        curves(run, quick)


def test_rows_without_a_right_candidate_are_refused(make_rows, rng):
    rows = make_rows([2, 2], rng)
    rows.correct[:2] = False
    with pytest.raises(ShapeError, match="q0 needs exactly 1 right"):
        check_rows(rows)


def test_unknown_modes_and_tiny_samples_are_refused():
    with pytest.raises(ConfigError, match="known are likra"):
        AnalysisSettings(modes=("magic",))
    with pytest.raises(ConfigError, match="at least 20"):
        AnalysisSettings(draws=3)


@pytest.mark.parametrize("mode", ["base_likra", "pos_base", "likra"])
def test_rounding_of_an_untrained_head_is_no_accuracy(mode, rng):
    run = planted_run("switch", rng, questions=50, width=0)
    for head in run.heads:  # the same weights, scored in other batches
        run.tables[f"scores/{head}"][0] = run.base_scores() * (1 + 1e-7 * rng.normal(size=200))
    found = combine(run, mode, 1.0)
    assert np.isnan(top_hits(run.rows, found.values[:1]).value).all()
    assert np.isfinite(top_hits(run.rows, found.values[1:]).value).all()
