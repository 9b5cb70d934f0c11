import numpy as np
import pytest

from critical_phase.analysis import planted_run
from critical_phase.analysis.planted.planted_contexts import NOISE_SCALE, gradients_of
from critical_phase.analysis.scores.effect_lines import MOST_POINTS
from critical_phase.analysis.scores.noise_scale import noise_scale
from critical_phase.analysis.scores.side_effects import side_effects
from critical_phase.errors import ShapeError


def test_the_noise_scale_is_estimated_without_bias():
    stored = gradients_of(400, 64, 200, np.random.default_rng(0))
    found = noise_scale(stored["gradient_sq"], stored["gradient_mean_sq"][:, 0])
    # |G|^2 = 1 and tr(Sigma) = 20 were planted; 400 checkpoints leave .01 and .03 of error.
    assert found.signal.mean() == pytest.approx(1.0, abs=0.05)
    assert found.noise.mean() == pytest.approx(NOISE_SCALE, abs=0.15)


def test_noise_scale_by_hand():
    # Gradients (2, 0) and (0, 2): mean (1, 1), so |mean|^2 = 2 and both norms are 4.
    found = noise_scale(np.array([[4.0, 4.0]]), np.array([2.0]))
    assert (found.signal[0], found.noise[0]) == (0.0, 4.0)
    assert np.isnan(found.value[0])
    # Gradients (3, 0) and (1, 0): mean (2, 0); |G|^2 = 2*4 - 5 = 3, tr = 2*(5 - 4) = 2.
    assert noise_scale(np.array([[9.0, 1.0]]), np.array([4.0])).value[0] == pytest.approx(2 / 3)


def test_equal_gradients_have_no_noise_and_scale_does_not_matter(rng):
    single = np.full((1, 8), 5.0)
    assert noise_scale(single, np.array([5.0])).value[0] == 0.0
    stored = gradients_of(3, 16, 50, rng)
    one = noise_scale(stored["gradient_sq"], stored["gradient_mean_sq"][:, 0]).value
    two = noise_scale(9 * stored["gradient_sq"], 9 * stored["gradient_mean_sq"][:, 0]).value
    np.testing.assert_allclose(one, two)


def test_one_gradient_has_no_noise_scale():
    with pytest.raises(ShapeError, match="at least 2 gradients, found 1"):
        noise_scale(np.ones((3, 1)), np.ones(3))


def curves_of(result):
    return {curve.id: curve for curve in result.curves}


@pytest.fixture
def planted(rng):
    return planted_run("switch", rng, questions=60, width=0, effects=True, contexts=("second",))


def test_drift_starts_at_zero_and_rises_where_it_was_planted(planted, quick):
    found = curves_of(side_effects(planted, quick))
    for name in ("kl_text.negative", "kl_question.negative"):
        assert found[name].value[0] == 0.0
        assert found[name].low[-1] > 0.0
    assert found["kl_question.positive"].n == 60
    assert found["kl_text.positive"].interval == "95 % bootstrap over texts"


def test_perplexity_is_weighted_by_tokens_and_starts_at_the_base(planted, quick):
    curve = curves_of(side_effects(planted, quick))["perplexity.negative"]
    sums, tokens = (planted.tables[f"effects/base/{n}"][0] for n in ("nll_text", "tokens_text"))
    level = np.exp(sums.sum() / tokens.sum())
    assert curve.references == [{"label": "base", "value": pytest.approx(level)}]
    assert curve.value[0] == pytest.approx(level, rel=1e-3)
    assert curve.value[-1] == pytest.approx(level * np.exp(0.05), rel=1e-3)


def test_planted_noise_is_found(planted, quick):
    curve = curves_of(side_effects(planted, quick))["noise_scale.positive"]
    values = [value for value in curve.value if value is not None]
    assert np.median(values) == pytest.approx(NOISE_SCALE, rel=0.4)
    assert curve.references == [{"label": "batch size", "value": 8.0}]
    assert (curve.low, curve.high, curve.interval) == (None, None, None)


def test_one_text_has_no_interval(planted, quick):
    for name in [k for k in planted.tables if k.endswith("_text")]:
        planted.tables[name] = planted.tables[name][:, :1]
    found = curves_of(side_effects(planted, quick))
    for name in ("kl_text.negative", "perplexity.negative"):
        assert (found[name].low, found[name].high, found[name].interval) == (None, None, None)
    assert found["perplexity.negative"].caption.endswith("One text, so no interval.")


def test_a_few_texts_have_no_interval_either(planted, quick):
    for name in [k for k in planted.tables if k.endswith("_text")]:
        planted.tables[name] = planted.tables[name][:, :3]
    found = curves_of(side_effects(planted, quick))
    for name in ("kl_text.negative", "perplexity.negative"):
        assert (found[name].low, found[name].high, found[name].interval) == (None, None, None)
        assert "3 texts, too few for an interval (at least 5)." in found[name].caption


def test_another_task_is_judged_on_its_own_questions(planted, quick):
    curve = curves_of(side_effects(planted, quick))["task.second.sft"]
    assert curve.n == 40
    assert curve.title == "accuracy on the second task, sft"
    assert {line["label"] for line in curve.references} == {"chance", "base"}
    assert curve.references[0]["value"] == 0.5


def test_no_part_is_drawn_twice(planted, quick):
    ids = [curve.id for curve in side_effects(planted, quick).curves]
    assert len(ids) == len(set(ids))
    assert {"update_norm.positive", "gradient_norm.negative"} <= set(ids)


def test_without_effects_one_line_names_the_command(rng, quick):
    result = side_effects(planted_run("flat", rng, width=0), quick)
    assert len(result.warnings) == 1
    assert "probe effects RUN --text FILE" in result.warnings[0]
    assert {curve.group for curve in result.curves} == {"gradient_norm"}


def test_steps_without_effects_are_counted(planted, quick):
    for name in [k for k in planted.tables if k.startswith("effects/negative/")]:
        planted.tables[name] = planted.tables[name][:5]
    result = side_effects(planted, quick)
    assert "negative: side effects were measured at 5 of 25 steps" in result.warnings
    assert len(curves_of(result)["kl_text.negative"].steps) == 5


def test_a_long_log_is_thinned_and_says_so(rng, quick):
    run = planted_run("flat", rng, width=0, steps=1001, questions=4)
    curve = curves_of(side_effects(run, quick))["gradient_norm.positive"]
    assert len(curve.steps) == MOST_POINTS
    assert curve.steps[-1] == 1000
    assert "Every 5th of 1000 steps" in curve.caption
