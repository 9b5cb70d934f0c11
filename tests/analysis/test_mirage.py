import numpy as np
import pytest

from critical_phase.analysis.judging.mirage_verdict import _mirage_kind
from critical_phase.analysis.jumps.mirage import common_drift, mirage, smooth_drift
from critical_phase.analysis.jumps.model_comparison import compare_kinds
from critical_phase.analysis.scores.crossing import crossings
from critical_phase.analysis.scores.noise_floor import noise_floor


def world(kind, rng, questions=300, steps=33):
    time = np.arange(steps)
    course = time / (steps - 1)
    if kind == "switch":
        course = 1 / (1 + np.exp(-(time - 16) * 1.5))
    noise = np.cumsum(rng.normal(0, 0.02, (steps, questions)), axis=0)
    return time, rng.normal(-0.5, 0.5, questions) + course[:, None] + noise


@pytest.mark.parametrize(("kind", "share", "room"), [("mirage", 1.01, 0.1), ("switch", 0.20, 0.04)])
def test_the_smooth_drift_share_tells_a_mirage_from_a_switch(kind, share, room):
    shares = []
    for seed in range(20):
        time, margins = world(kind, np.random.default_rng(seed))
        shares.append(mirage(margins, time).smooth_share)
    assert np.mean(shares) == pytest.approx(share, abs=room)


def test_common_drift_cannot_tell_a_switch():
    worlds = [world("switch", np.random.default_rng(seed)) for seed in range(20)]
    shares = [mirage(margins, time).common_share for time, margins in worlds]
    assert np.mean(shares) == pytest.approx(1, abs=0.1)


def test_the_interval_holds_the_share(rng):
    time, margins = world("mirage", rng)
    found = mirage(margins, time, rng.multinomial(300, np.full(300, 1 / 300), 200) / 300)
    assert found.smooth_interval[0] < found.smooth_share < found.smooth_interval[1] + 0.2


def test_linear_margins_are_their_own_smooth_drift():
    time = np.array([0.0, 1, 2, 4, 8, 9, 10, 11])
    margins = np.outer(time, [1.0, -2.0])
    inside = slice(1, -1)
    np.testing.assert_allclose(smooth_drift(margins, time)[inside], margins[inside], atol=1e-9)
    assert common_drift(margins).shape == margins.shape


@pytest.mark.parametrize(("kind", "best"), [("mirage", {"line", "hinge"}), ("switch", {"sigmoid"})])
def test_the_margin_asks_for_the_kind_that_was_planted(kind, best, rng):
    time, margins = world(kind, rng)
    found = compare_kinds(margins.mean(axis=1), time, margins)
    assert min(found, key=found.get) in best


def test_nothing_moving_has_no_share():
    assert np.isnan(mirage(np.ones((9, 4)), np.arange(9)).smooth_share)


def test_crossing_times_are_tight_in_a_switch_and_wide_in_a_mirage(rng):
    spreads = [crossings(*world(kind, rng)[::-1], rng).spread for kind in ("switch", "mirage")]
    assert spreads[0] < 4 < 10 < spreads[1]
    assert crossings(np.ones((9, 4)), np.arange(9), rng) is None


def test_a_drift_that_starts_late_is_at_another_place_than_a_steady_drift(rng):
    time = np.arange(33.0)
    late = np.clip((time - 16) / 16, 0, 1)[:, None] * 4 + 0.05 * rng.normal(size=(1, 300))
    found = mirage(late, time, rng.multinomial(300, np.full(300, 1 / 300), 200) / 300)
    assert found.smooth_share > 0.5
    assert found.same_place is False
    assert found.delay > 10
    assert found.delay_interval is not None
    assert found.delay_interval[0] > 8


def test_a_steady_drift_is_at_its_own_place(rng):
    time, margins = world("mirage", rng)
    assert mirage(margins, time).same_place


def test_a_place_that_few_questions_leave_open_is_neither_the_same_nor_another(rng):
    time, margins = world("mirage", rng)
    few = margins[:, :12]
    found = mirage(few, time, rng.multinomial(12, np.full(12, 1 / 12), 400) / 12)
    assert found.delay_tests is not None
    low, high = found.delay_tests
    assert min(-low, high) < 3.2 < max(-low, high)
    assert found.same_place is None


def halves(kinds, rng):
    weights = rng.multinomial(300, np.full(300, 1 / 300), 200) / 300
    return tuple(mirage(*world(kind, rng)[::-1], weights) for kind in kinds)


@pytest.mark.parametrize(
    ("kinds", "best", "abrupt", "verdict"),
    [
        (("mirage", "mirage"), "line", False, "supported"),
        (("mirage", "mirage"), "sigmoid", False, "not separable"),
        (("mirage", "switch"), "line", False, "not separable"),
        (("switch", "mirage"), "sigmoid", True, "not separable"),
        (("switch", "switch"), "sigmoid", True, "excluded"),
        (("switch", "switch"), "line", True, "not separable"),
    ],
)
def test_a_mirage_needs_both_halves_and_a_smooth_kind_of_margin(kinds, best, abrupt, verdict, rng):
    pair = halves(kinds, rng)
    assert _mirage_kind(pair[0], pair, best, abrupt=abrupt) == verdict


@pytest.mark.parametrize("spacing", [1, 3])
def test_noise_that_is_new_at_every_checkpoint_is_measured(spacing, rng, make_rows):
    rows = make_rows([4] * 400, rng)
    steps = np.concatenate(([0], np.cumsum(np.arange(40) % 2 * (spacing - 1) + 1)))
    drift = steps[:, None] * rng.normal(0, 0.1, rows.question.size)
    scores = drift + rng.normal(0, 0.02, drift.shape)
    found = noise_floor(rows, np.zeros(rows.question.size), steps, scores)
    inside = 0.02 * np.sqrt(3 / 4)  # one of four candidates' worth goes with the question's mean
    assert found.jitter == pytest.approx(inside, rel=0.05)
    few = noise_floor(rows, np.zeros(rows.question.size), steps[:3], scores[:3])
    assert np.isnan(few.jitter)
