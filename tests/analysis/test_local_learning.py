"""Learning coefficients as a measure: intervals, words, controls and what is ranked."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from critical_phase.analysis import AnalysisSettings, planted_run
from critical_phase.analysis.updates.llc_series import LlcSeries, drift, point_of
from critical_phase.analysis.updates.local_learning import local_learning
from critical_phase.errors import ShapeError

SETTINGS = {"sampled": "factors", "parameters": 640, "gamma": 90.0, "lr": 0.001, "n_beta": 80.0,
            "reference_step": 24, "plateau": True}  # fmt: skip


def series_of(value, rng, scatter=0.5, **more):
    """Four chains about a course of values."""
    value = np.asarray(value, dtype=np.float64)
    chains = value[:, None] + rng.normal(0, scatter, (value.size, 4))
    given = {
        "steps": np.arange(value.size, dtype=np.int64),
        "chains": chains,
        "halves": np.stack([chains - 0.1, chains + 0.1]),
        "broke": np.full(chains.shape, -1),
        "distance": np.full(chains.shape, 0.9),
        "loss": np.linspace(3, 1, value.size),
        "slope": np.full(value.size, 0.1),
        "settings": SETTINGS,
    }
    return LlcSeries(**(given | more))


@pytest.fixture
def run(rng):
    return planted_run("switch", rng, questions=20, steps=12)


def measured(run, **coefficients):
    return local_learning(replace(run, coefficients=coefficients), AnalysisSettings())


def test_the_interval_is_student_s_over_finite_chains():
    chains = np.array([3.0, 5.0, np.nan, 4.0])
    point = point_of(chains)
    expected = stats.t.interval(0.95, 2, 4.0, 1.0 / np.sqrt(3))
    assert (point.value, point.finite) == (4.0, 3)
    assert (point.low, point.high) == pytest.approx(expected)


def test_intervals_hold_the_truth_as_often_as_they_say(rng):
    drawn = rng.normal(7.0, 2.0, (2000, 4))
    held = np.mean([p.low <= 7.0 <= p.high for p in map(point_of, drawn)])
    assert 0.93 < held < 0.97


@pytest.mark.parametrize(
    ("chains", "word"),
    [
        ([4.0, 5.0, 6.0], "above zero"),
        ([-1.0, 5.0, 2.0], "not told from zero"),
        ([-5.0, 1.0, 2.0], "no minimum"),
        ([-9.0, -8.0, -9.5], "no minimum"),
        ([4.0, np.nan], "no interval"),
        ([np.nan, np.nan], "no interval"),
    ],
)
def test_every_estimate_is_named_and_none_is_clipped(chains, word):
    point = point_of(np.array(chains))
    assert point.word == word
    if word == "no minimum":
        assert point.value == pytest.approx(np.mean(chains))


def test_drift_is_the_second_half_minus_the_first(rng):
    found = drift(series_of([1.0, 2.0], rng))
    assert [one.value for one in found] == pytest.approx([0.2, 0.2])


def test_without_samples_the_command_is_named(run):
    found = measured(run)
    assert found.curves == found.tables == found.series == ()
    assert "no learning coefficients of the negative head" in " ".join(found.warnings)
    assert "probe llc RUN --head negative" in " ".join(found.warnings)


def test_a_curve_keeps_what_is_negative_and_its_interval(run, rng):
    found = measured(run, negative=series_of([-900.0, -40.0, 3.0, 20.0], rng))
    (curve,) = found.curves
    assert curve.value[0] == pytest.approx(-900, abs=2)
    assert all(low < v < high for low, v, high in zip(curve.low, curve.value, curve.high,
                                                     strict=True))  # fmt: skip
    assert curve.references == [{"label": "no minimum below", "value": 0.0}]
    words = [row[3] for row in found.tables[0].rows]
    assert words == ["no minimum", "no minimum", "above zero", "above zero"]
    assert "both factors of every update, 640 numbers" in curve.caption


def test_only_checkpoints_at_a_minimum_are_looked_at_for_a_change(run, rng):
    course = np.r_[-200.0, -50.0, np.where(np.arange(14) < 7, 10.0, 40.0)]
    found = measured(run, negative=series_of(course, rng))
    (line,) = found.series
    assert line.steps.tolist() == list(range(2, 16))
    assert line.per_question is None
    assert any("at 2 of 16 checkpoints there is no minimum" in text for text in found.warnings)


def test_wide_intervals_and_short_series_are_not_ranked(run, rng):
    course = np.linspace(10, 12, 16)
    wide = measured(run, negative=series_of(course, rng, scatter=2.0))
    assert wide.series == ()
    assert any("so no change is looked for" in text for text in wide.warnings)
    short = measured(run, negative=series_of(np.linspace(10, 90, 6), rng))
    assert short.series == ()
    assert any("--checkpoints all" in text for text in short.warnings)


def test_chains_that_broke_off_are_named(run, rng):
    one = series_of([5.0, 6.0], rng)
    chains, broke = one.chains.copy(), one.broke.copy()
    chains[1, 2], broke[1, 2] = np.nan, 17
    found = measured(run, negative=replace(one, chains=chains, broke=broke))
    assert any("chain 2 at step 1 (its step 17)" in text for text in found.warnings)
    assert found.tables[0].rows[1][4] == 3


def test_controls_and_the_choice_of_settings_stand_beside_it(run, rng):
    cells = tuple({"reach": 1.0, "pace": p, "lr": lr, "gamma": 90.0, "llc": v}
                  for p, lr, v in ((0.1, 0.001, 5.0), (0.2, 0.002, None)))  # fmt: skip
    one = series_of(
        [5.0, 6.0], rng, random=(1, np.array([-80.0, -82.0])),
        quadratic=(20.6, np.array([21.0, 20.5])), sweep=cells,
    )  # fmt: skip
    _, controls, sweep = measured(run, negative=one).tables
    assert [row[0] for row in controls.rows] == [
        "quadratic of known coefficient", "random adapter of equal norm",
    ]  # fmt: skip
    assert controls.rows[0][2] == 20.6
    assert controls.rows[1][-1] == "no minimum"
    assert [row[-1] for row in sweep.rows] == ["yes", ""]


def test_a_series_without_a_plateau_says_so(run, rng):
    one = series_of([5.0, 6.0], rng, settings=SETTINGS | {"plateau": False})
    assert any("no step size of the sweep" in text for text in measured(run, negative=one).warnings)


def test_tables_that_do_not_fit_are_refused(rng):
    one = series_of([5.0, 6.0], rng)
    with pytest.raises(ShapeError, match="2 ascending steps"):
        replace(one, loss=one.loss, steps=np.array([3, 2]))
