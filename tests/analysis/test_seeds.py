import json
from dataclasses import replace

import numpy as np
import pytest

from critical_phase.analysis import AnalysisSettings, planted_run, to_json
from critical_phase.analysis.many_runs.seed_groups import two_groups
from critical_phase.analysis.many_runs.seed_spread import spread, two_way_draws
from critical_phase.analysis.many_runs.seeds import seeds
from critical_phase.errors import ConfigError

STEPS = 33


@pytest.fixture
def settings():
    return AnalysisSettings(draws=200, smooth_draws=100)


def training(kind, shift, seed):
    """One run of a design: the same questions, a planted change moved by some steps."""
    run = planted_run(kind, np.random.default_rng(0), questions=80, steps=STEPS, width=0)
    at = np.clip(np.arange(STEPS) - shift, 1, STEPS - 1)
    at[0] = 0
    scores = run.tables["scores/negative"][at]
    walk = np.random.default_rng(seed).normal(0, 0.01, (STEPS - 1, scores.shape[1]))
    scores[1:] += np.cumsum(walk, axis=0)
    run.tables["scores/negative"] = scores
    return run


def design(kind, shifts):
    return {f"s{at}": training(kind, shift, 10 + at) for at, shift in enumerate(shifts)}


def test_places_of_planted_seeds_are_recovered_one_by_one(settings):
    shifts = (-4, 0, 3, 5)
    found = seeds(design("switch", shifts), settings).facts
    changes = [f for f in found["changes"] if f.quantity == "margin"]
    assert found["abrupt"]["margin"] == ["s0", "s1", "s2", "s3"]
    for one, shift in zip(changes, shifts, strict=True):
        assert one.change.interval[0] <= 16 + shift <= one.change.interval[1]
    assert found["spreads"]["margin"].mean == pytest.approx(17, abs=0.5)
    assert found["spreads"]["margin"].deviation == pytest.approx(np.std(shifts, ddof=1), abs=0.4)
    assert found["spreads"]["margin"].p < 0.05


def test_smooth_seeds_have_no_place_and_no_spread(settings):
    found = seeds(design("smooth", (0, 0, 0)), settings).facts
    assert found["abrupt"] == {"accuracy": [], "margin": []}
    assert found["spreads"]["accuracy"].mean_interval is None
    assert "in 0 of 3 seeds; fewer than two have a place" in found["sentence"]


def test_seeds_that_change_together_spread_no_more_than_their_error(settings):
    found = seeds(design("switch", (0, 0, 0, 0)), settings).facts["spreads"]["accuracy"]
    assert found.count == 4
    assert found.p > 0.05


def test_a_mixed_design_names_the_seeds_that_jump(settings):
    runs = design("switch", (0, 2)) | {"calm": training("smooth", 0, 30)}
    assert seeds(runs, settings).facts["abrupt"]["margin"] == ["s0", "s1"]


def test_equal_input_gives_equal_json_without_nan(settings):
    pair = [seeds(design("switch", (0, 2)), settings) for _ in range(2)]
    texts = [json.dumps(to_json(one), sort_keys=True, allow_nan=False) for one in pair]
    assert texts[0] == texts[1]


def test_the_mean_curve_is_that_of_the_seeds_with_a_band_around_it(settings):
    curve = seeds(design("switch", (-3, 3)), settings).curves[0]
    assert curve.steps == list(range(1, STEPS))
    assert np.all(np.array(curve.low) <= np.array(curve.value) + 1e-9)
    assert np.all(np.array(curve.high) >= np.array(curve.value) - 1e-9)
    middle = curve.steps.index(16)
    assert curve.high[middle] - curve.low[middle] > 0.3


def test_only_shared_steps_are_compared(settings):
    runs = design("switch", (0, 1))
    short = runs["s1"]
    tables = {k: v[::2] if k.startswith("scores/") and v.ndim == 2 else v
              for k, v in short.tables.items()}  # fmt: skip
    runs["s1"] = replace(short, step_list=short.step_list[::2], tables=tables)
    curve = seeds(runs, settings).curves[0]
    assert curve.steps == list(range(2, STEPS, 2))


def other_questions(run):
    return replace(run, rows=replace(run.rows, question_ids=("x", *run.rows.question_ids[1:])))


def other_texts(run):
    return replace(run, rows=replace(run.rows, texts=("x", *run.rows.texts[1:])))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: replace(run, batch_size=16), "the batch size is 8 in s0 and 16 in s1"),
        (other_questions, "s0 asks question q0000 where s1 asks x"),
        (other_texts, "the same question ids but other candidates"),
        (
            lambda run: replace(run, heads=("negative",)),
            "the trained heads is positive, negative in s0 and negative in s1",
        ),
    ],
)
def test_other_designs_are_refused_with_the_difference(change, said, settings):
    runs = design("switch", (0, 1))
    with pytest.raises(ConfigError, match=said):
        seeds(runs | {"s1": change(runs["s1"])}, settings)


def test_one_run_or_one_training_twice_is_refused(settings):
    runs = design("switch", (0,))
    with pytest.raises(ConfigError, match="asked to compare 1 run"):
        seeds(runs, settings)
    with pytest.raises(ConfigError, match="s0 and again have the same scores"):
        seeds(runs | {"again": runs["s0"]}, settings)


def test_too_few_shared_steps_are_refused(settings):
    runs = {f"s{at}": planted_run("switch", np.random.default_rng(at), steps=6, width=0)
            for at in range(1)}  # fmt: skip
    other = planted_run("switch", np.random.default_rng(0), steps=6, width=0)
    other.tables["scores/negative"][1:] += 0.1
    other.tables["scores/negative"][2] += 0.1 * other.rows.correct
    with pytest.raises(ConfigError, match="share 5 defined steps, at least 8"):
        seeds(runs | {"s1": other}, settings)


def test_means_over_few_normal_seeds_are_covered():
    """Known truth: places normal over 5 seeds, the same question error in all of them."""
    rng, held = np.random.default_rng(7), []
    for _ in range(400):
        shared = rng.normal(0, 0.5, 301)
        places = 20 + rng.normal(0, 2, 5) + shared[0]
        draws = places[:, None] + shared[None, 1:]
        low, high = spread(places, draws, 1.0, rng).mean_interval
        held.append(low <= 20 <= high)
    assert 0.92 <= np.mean(held) <= 0.99


def test_a_question_error_that_seeds_share_does_not_average_out():
    rng = np.random.default_rng(8)
    values = np.zeros((6, 1))
    own, same = rng.normal(0, 1, (6, 2000, 1)), np.repeat(rng.normal(0, 1, (1, 2000, 1)), 6, 0)
    assert two_way_draws(values, same, rng).std() == pytest.approx(1, abs=0.06)
    assert two_way_draws(values, own, rng).std() == pytest.approx(1 / np.sqrt(6), abs=0.04)


def test_two_far_groups_of_many_seeds_are_seen_and_of_few_only_if_extreme():
    rng = np.random.default_rng(9)
    ten = np.concatenate((rng.normal(0.5, 0.01, 5), rng.normal(0.8, 0.01, 5)))
    found = two_groups(ten, rng)
    assert found.verdict == "two groups"
    assert (len(found.low), len(found.high)) == (5, 5)
    assert two_groups(np.array([0.5, 0.52, 0.6, 0.61, 0.63]), rng).verdict == "undecided"
    assert two_groups(np.array([0.5, 0.8, 0.81]), rng).verdict == "undecided"


@pytest.mark.parametrize("count", [5, 10])
@pytest.mark.parametrize("shape", ["standard_normal", "random", "standard_exponential"])
def test_one_hump_is_rarely_called_two_groups(count, shape):
    """5 % of 150 are 7.5; more than 14 has a chance of 1 %."""
    rng = np.random.default_rng(10)
    sets = [getattr(rng, shape)(count) for _ in range(150)]
    called = sum(two_groups(one, rng, draws=500).verdict == "two groups" for one in sets)
    assert called <= 14


def test_place_and_scale_of_values_change_nothing():
    values = np.random.default_rng(11).random(8)
    one = two_groups(values, np.random.default_rng(0))
    two = two_groups(7 - 3 * values, np.random.default_rng(0))
    assert one.statistic == pytest.approx(two.statistic)
