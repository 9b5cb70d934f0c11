"""Signal over noise from two scorings, and what follows for the noise floor."""

import numpy as np
import pytest

from critical_phase.analysis import planted_run
from critical_phase.analysis.inference.bootstrap import question_weights, shared_weights
from critical_phase.analysis.judging.noise_evidence import noise_evidence
from critical_phase.analysis.scores.curves import top_hits
from critical_phase.analysis.scores.likelihood import curves
from critical_phase.analysis.scores.normalisations import normalisations
from critical_phase.analysis.scores.second_scoring import compare_scorings, half_way
from critical_phase.analysis.scores.second_scorings import second_scoring

NOISE = 0.02
SIZES = np.array([1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 1.0])
STEPS = np.arange(1, 8)
READ = 0.05  # three standard errors of 1,000 questions


@pytest.fixture(scope="module")
def fake(make_rows):
    """The fake critical phase of docs/methods.md: one direction, growing past its noise."""
    rng = np.random.default_rng(0)
    rows = make_rows([4] * 1000, rng)
    direction = rng.normal(size=4000) + 1.6 * rows.correct
    exact = SIZES[:, None] * direction
    noisy = [exact + rng.normal(0, NOISE, exact.shape) for _ in range(2)]
    return rows, exact, noisy, question_weights(1000, 200, rng)


def test_noise_alone_makes_a_critical_phase_of_a_change_that_only_grows(fake):
    rows, exact, noisy, _ = fake
    found = top_hits(rows, noisy[0]).value.mean(axis=1)
    expected = [0.243, 0.277, 0.319, 0.459, 0.648, 0.719, 0.733]
    np.testing.assert_allclose(found, expected, atol=READ)
    assert np.ptp(top_hits(rows, exact).value.mean(axis=1)) == 0
    assert top_hits(rows, exact).value[0].mean() == pytest.approx(0.729, abs=READ)


def test_signal_and_noise_are_told_apart(fake):
    rows, _, noisy, weights = fake
    found = compare_scorings(rows, STEPS, *noisy, weights)
    # Within four candidates the noise has 3/4 of its variance, the direction 3/4 + 1.6^2 3/16.
    np.testing.assert_allclose(found.noise, NOISE * np.sqrt(0.75), rtol=0.05)
    truth = SIZES * np.sqrt(1 + 1.6**2 / 4) / NOISE
    np.testing.assert_allclose(found.snr[3:], truth[3:], rtol=0.12)
    assert found.snr[0] < 0.3  # noise alone: its own variance is not taken for signal
    assert ((found.low <= found.snr) & (found.snr <= found.high)).all()
    one, ten = found.crossings
    assert (one.step, one.interval) == (5, (5.0, 5.0))
    assert (ten.step, ten.interval) == (7, (7.0, 7.0))
    assert not found.identical


def test_a_shift_of_whole_questions_is_neither_signal_nor_noise(fake):
    rows, _, noisy, weights = fake
    shift = np.random.default_rng(1).normal(0, 50, 1000)[rows.question]
    plain = compare_scorings(rows, STEPS, *noisy, weights)
    moved = compare_scorings(rows, STEPS, noisy[0] + shift, noisy[1] - shift, weights)
    np.testing.assert_allclose(moved.snr, plain.snr, rtol=1e-6, atol=1e-6)


def test_another_precision_gives_an_upper_bound_of_the_noise(fake):
    rows, exact, noisy, weights = fake
    found = compare_scorings(rows, STEPS, noisy[0], exact, weights, other_precision=True)
    np.testing.assert_allclose(found.noise, NOISE * np.sqrt(0.75), rtol=0.05)


def test_a_change_that_never_outgrows_its_noise_never_crosses(fake):
    rows, _, noisy, weights = fake
    found = compare_scorings(rows, STEPS[:3], noisy[0][:3], noisy[1][:3], weights)
    assert [c.step for c in found.crossings] == [None, None]
    assert found.crossings[0].interval == (np.inf, np.inf)


def test_half_way_is_between_the_steps_around_it():
    steps = np.array([1, 2, 4, 8])
    rising = np.array([[0.0, 0.0, 1.0, 1.0], [1.0, 0.8, 0.2, 0.0], [0.3, 0.9, 0.1, 0.3]])
    np.testing.assert_allclose(half_way(steps, rising), [3.0, 3.0, np.nan])


def scored_twice(kind, *, finer=False):
    """A negative head, scored twice: it outgrows its noise, or turns far above it, at step 12."""
    rng = np.random.default_rng(3)
    run = planted_run("flat", rng, questions=200, width=0, steps=25, heads=("negative",))
    truth, time, base = run.rows.correct, np.arange(25)[:, None], run.tables["scores/base"]
    if kind == "noise":
        size = NOISE * 10 ** (4 / (1 + np.exp(12.0 - time)) - 2)
        exact, noise = -size * (rng.normal(size=800) + 2 * truth), NOISE
    else:
        exact, noise = -(0.5 + time) * (rng.normal(size=800) + 3 * (time > 12) * truth), 1e-5
    for name in ("scores", "context/again"):
        noisy = exact + rng.normal(0, noise, exact.shape)
        run.tables[f"{name}/negative"] = base + np.where(time > 0, noisy, 0.0)
    run.tables["context/again-float64/negative"] = base + exact
    for context in ("again", "again-float64")[: 1 + finer]:
        run.tables[f"context/{context}/base"] = base
        run.rows_in[context] = run.rows
    return run


def evidence(kind, quick, *, finer):
    run = scored_twice(kind, finer=finer)
    found = second_scoring(run, quick).facts["second_scoring"]
    return noise_evidence(
        found["again"]["heads"]["negative"],
        found["again"]["modes"]["base_likra"],
        curves(run, quick).facts["direction_accuracy"]["negative"],
        shared_weights(200, quick),
        place=(11.0, 13.0),
        finer=found["again-float64"]["modes"]["base_likra"] if finer else None,
    )


@pytest.mark.parametrize("finer", [False, True])
def test_a_noise_floor_is_predicted_with_a_finer_scoring_and_not_killed(quick, finer):
    found = evidence("noise", quick, finer=finer)
    assert (found.predicted, found.killed) == (finer, False)
    assert len(found.texts) == 4
    assert ("is missing" in found.texts[-1]) is not finer


@pytest.mark.parametrize("finer", [False, True])
def test_a_turn_far_above_the_noise_kills_the_noise_floor(quick, finer):
    found = evidence("turn", quick, finer=finer)
    assert (found.predicted, found.killed) == (False, True)
    assert found.least_interval[0] > 10


def test_too_few_steps_before_the_jump_settle_nothing(quick):
    run = scored_twice("turn")
    found = second_scoring(run, quick).facts["second_scoring"]["again"]["heads"]["negative"]
    said = noise_evidence(found, None, None, shared_weights(200, quick), place=(1.5, 3.0))
    assert (said.predicted, said.killed) == (False, False)
    assert "1 trained steps before the jump" in said.texts[0]


def test_only_steps_scored_twice_are_compared(quick):
    run = scored_twice("turn")
    run.tables["context/again/negative"] = run.tables["context/again/negative"][:5]
    result = second_scoring(run, quick)
    assert result.curves[0].steps == [1, 2, 3, 4]
    assert result.tables[0].rows[0][:3] == ["other batches", "negative", 4]


def test_scorings_that_agree_to_the_last_bit_show_no_noise(quick):
    run = scored_twice("turn")
    run.tables["context/again/negative"] = run.tables["scores/negative"]
    result = second_scoring(run, quick)
    assert result.facts["second_scoring"]["again"]["heads"]["negative"].identical
    assert "agree to the last bit" in result.warnings[0]
    assert result.curves[0].value == [None] * 24


def test_without_a_second_scoring_the_command_is_named(rng, quick):
    result = second_scoring(planted_run("switch", rng, width=0), quick)
    assert result.curves == result.tables == ()
    assert len(result.warnings) == 1
    assert "probe collect RUN --contexts again" in result.warnings[0]


def test_a_second_scoring_is_no_other_text(quick):
    result = normalisations(scored_twice("turn"), quick)
    assert [table.id for table in result.tables] == ["normalisations"]
