"""Curvature as a measure: a planted rise, intervals, what is ranked, what is said."""

from dataclasses import replace

import numpy as np
import pytest

from critical_phase.analysis import AnalysisSettings, planted_run
from critical_phase.analysis.inference.bootstrap import shared_weights
from critical_phase.analysis.jumps.series_change import ChangeFinder
from critical_phase.analysis.updates.curvature import curvature
from critical_phase.analysis.updates.curvature_series import CurvatureSeries, Twin
from critical_phase.analysis.updates.rise_and_fall import rise_and_fall
from critical_phase.errors import ShapeError

QUESTIONS = 60
SETTINGS = {"draws": 2, "samples": 4, "tolerance": 0.05, "seed": 0}


def series_of(course, rng, **more):
    """A Fisher trace about a course of means, with questions that differ by a factor."""
    course = np.asarray(course, dtype=np.float64)
    size = rng.lognormal(0, 0.5, QUESTIONS)
    fisher = course[:, None] * size / size.mean()
    fisher = fisher * rng.lognormal(0, 0.1, fisher.shape)
    shares = np.array([0.75, 0.25])
    samples = rng.lognormal(0, 0.02, (course.size, 4)) * np.linspace(1, 3, course.size)[:, None]
    given = {
        "steps": np.arange(course.size, dtype=np.int64),
        "questions": tuple(f"q{i}" for i in range(QUESTIONS)),
        "modules": ("layers.0.up", "layers.0.down"),
        "fisher": fisher,
        "by_module": fisher[:, None] * shares[:, None],
        "draws": np.stack([fisher.mean(1) * 0.9, fisher.mean(1) * 1.1], axis=1),
        "true_answer": fisher / 2,
        "sharpness": samples,
        "residual": np.full(samples.shape, 0.01),
        "preconditioned": np.full(samples.shape, np.nan),
        "preconditioned_residual": np.full(samples.shape, np.nan),
        "settings": SETTINGS,
    }
    return CurvatureSeries(**(given | more))


@pytest.fixture
def run(rng):
    found = planted_run("switch", rng, questions=QUESTIONS, steps=16)
    ids = tuple(f"q{i}" for i in range(QUESTIONS))
    return replace(found, rows=replace(found.rows, question_ids=ids))


def measured(run, quick, **curvatures):
    return curvature(replace(run, curvatures=curvatures), quick)


def test_a_planted_rise_and_fall_is_found_and_placed(rng):
    course = 10 + 40 * np.exp(-0.5 * ((np.arange(16) - 6) / 2) ** 2)
    peak = rise_and_fall(series_of(course, rng).fisher, 500, rng)
    assert (peak.places[1], peak.word) == (6, "rise then fall")
    assert peak.rise_interval[0] < course[6] / course[0] < peak.rise_interval[1]


def test_a_peak_behind_a_fall_is_seen_though_the_first_value_is_as_high(run, quick, rng):
    course = np.array([90.0, 40, 30, 50, 90, 60, 40, 30, 20, 15, 12, 10])
    peak = rise_and_fall(series_of(course, rng).fisher, 500, rng)
    assert (peak.places, peak.word) == ((2, 4, 11), "rise then fall")
    assert peak.rise == pytest.approx(3.0, rel=0.1)
    tables = measured(run, quick, negative=series_of(course, rng)).tables
    (row,) = next(t for t in tables if t.id == "fisher_peak").rows
    assert [row[0], row[2], row[-1]] == ["negative", 4, "rise then fall"]


@pytest.mark.parametrize(
    ("course", "word"), [(np.linspace(9, 90, 12), "rise"), (np.linspace(90, 9, 12), "fall")]
)
def test_one_way_is_not_both(course, word, rng):
    assert rise_and_fall(series_of(course, rng).fisher, 200, rng).word == word


def test_where_nothing_moves_a_rise_and_fall_is_rarely_seen(rng):
    """The peak is chosen on other questions than it is measured on."""
    words = [rise_and_fall(rng.lognormal(0, 1, (12, QUESTIONS)), 100, rng).word for _ in range(400)]
    assert np.mean([word == "rise then fall" for word in words]) < 0.05
    assert rise_and_fall(rng.lognormal(0, 1, (12, 19)), 100, rng) is None
    assert rise_and_fall(np.zeros((12, QUESTIONS)), 100, rng) is None


def test_curves_have_intervals_and_modules_add_up(run, quick, rng):
    one = series_of(np.linspace(5, 50, 16), rng)
    found = measured(run, quick, negative=one)
    assert [c.id for c in found.curves] == [
        "fisher_trace.negative", "true_answer_gradient.negative", "sharpness.negative",
    ]  # fmt: skip
    for line in found.curves:
        assert all(a < v < b for a, v, b in zip(line.low, line.value, line.high, strict=True))
    assert "No Fisher trace" in found.curves[1].caption
    assert "No line at 2/lr" in found.curves[2].caption
    assert all(line.references == [] for line in found.curves)
    (modules,) = found.maps
    np.testing.assert_allclose(np.sum(modules.values, axis=0), found.curves[0].value, rtol=1e-9)
    assert modules.row_labels == ["layers.0.up", "layers.0.down"]
    assert any("of the positive head: probe curvature RUN" in text for text in found.warnings)


def test_an_abrupt_rise_is_ranked_on_the_run_s_own_resamples(run, quick, rng):
    course = np.where(np.arange(16) < 7, 10.0, 40.0)
    found = measured(run, quick, negative=series_of(course, rng))
    fisher, sharp = found.series
    assert (fisher.quantity, fisher.kind) == ("fisher_trace.negative", "weights")
    assert fisher.per_question.shape == (16, QUESTIONS)
    assert sharp.per_question is None
    change = ChangeFinder(shared_weights(QUESTIONS, quick), quick).find(fisher)
    assert change.test.found
    assert change.interval[0] <= 6.5 <= change.interval[1]


def test_other_questions_short_and_wide_series_are_said(run, quick, rng):
    course = np.linspace(5, 50, 16)
    other = series_of(course, rng, questions=tuple(f"x{i}" for i in range(QUESTIONS)))
    found = measured(run, quick, negative=other)
    assert found.series[0].per_question is None
    assert any("not on those of the run" in text for text in found.warnings)
    short = measured(run, quick, negative=series_of(course[:5], rng))
    assert short.series == ()
    assert any("5 checkpoints are too few" in text for text in short.warnings)
    loose = rng.lognormal(0, 1.5, (16, 4))
    wide = measured(run, quick, negative=series_of(course, rng, sharpness=loose))
    assert [one.quantity for one in wide.series] == ["fisher_trace.negative"]
    assert any("intervals of sharpness are half as wide" in text for text in wide.warnings)


def test_what_did_not_converge_or_was_left_out_is_named(run, quick, rng):
    one = series_of(np.linspace(5, 50, 16), rng)
    residual = one.residual.copy()
    residual[3, 1] = 0.4
    said = " ".join(measured(run, quick, negative=replace(one, residual=residual)).warnings)
    assert (
        "1 of 64 searches of sharpness ended above the relative residual 0.05 (worst 0.4)" in said
    )
    assert "no optimizer state at these steps" in said
    empty = np.full(one.sharpness.shape, np.nan)
    left = measured(run, quick, negative=replace(one, sharpness=empty, residual=empty))
    assert [c.id for c in left.curves][2:] == []
    assert any("sharpness was left out" in text for text in left.warnings)


def test_adams_limit_is_drawn_at_a_constant_rate_alone(run, quick, rng):
    one = series_of(np.linspace(5, 50, 16), rng)
    scaled = one.preconditioned.copy()
    scaled[[2, 4, 8]] = rng.lognormal(5, 0.1, (3, 4))
    one = replace(
        one, preconditioned=scaled, preconditioned_residual=np.where(scaled > 0, 0.01, scaled)
    )
    last = measured(run, quick, negative=one).curves[-1]
    assert (last.id, last.steps) == ("preconditioned_sharpness.negative", [2, 4, 8])
    assert last.references == [{"label": "38/lr", "value": pytest.approx(38 / 1e-3)}]
    log = run.training_log("negative")
    log["lr"] = np.linspace(1e-3, 0, log["lr"].size)
    decayed = measured(replace(run, logs={"negative": log}), quick, negative=one)
    assert decayed.curves[-1].references == []
    assert any("not constant, so 38/lr is not drawn" in text for text in decayed.warnings)


def test_a_random_adapter_stands_beside_the_trained(run, quick, rng):
    twin = Twin(15, np.full(QUESTIONS, 7.0), np.full(4, 2.0))
    found = measured(run, quick, negative=series_of(np.linspace(5, 50, 16), rng, random=twin))
    rows = found.tables[-1].rows
    assert [row[1] for row in rows] == ["random adapter of equal norm", "trained"]
    assert rows[0][3] == 7.0
    assert rows[1][3] == pytest.approx(50, rel=0.1)


def test_nothing_measured_names_the_command(run, quick):
    found = measured(run, quick)
    assert found.curves == found.tables == found.series == ()
    assert "probe curvature RUN --heads negative measures them" in " ".join(found.warnings)


def test_tables_that_do_not_fit_are_refused(rng):
    one = series_of(np.linspace(5, 50, 4), rng)
    with pytest.raises(ShapeError, match=r"fisher should have the shape \(4, 3\), found \(4, 60\)"):
        replace(one, questions=one.questions[:3])
    with pytest.raises(ShapeError, match="steps should ascend"):
        replace(one, steps=one.steps[::-1])


def test_settings_are_those_of_the_files(run, rng):
    found = measured(run, AnalysisSettings(), negative=series_of(np.linspace(5, 50, 16), rng))
    assert found.settings == {"negative": SETTINGS}
