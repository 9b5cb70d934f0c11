import numpy as np
import pytest

from critical_phase.analysis import planted_run
from critical_phase.analysis.inference.bootstrap import shared_weights
from critical_phase.analysis.scores.baselines import baselines
from critical_phase.analysis.scores.collapses import collapse
from critical_phase.analysis.scores.linearity import linearity
from critical_phase.analysis.scores.normalisations import normalisations


def scaled_run(alpha, respond):
    """A negative head, scored under an update times alpha that gives `respond(delta)`."""
    run = planted_run("switch", np.random.default_rng(0), questions=60, width=0)
    name, base = f"scaled-{alpha}", run.tables["scores/base"]
    for head in run.heads:
        change = run.tables[f"scores/{head}"] - base
        run.tables[f"context/{name}/{head}"] = base + respond(change)
    run.tables[f"context/{name}/base"] = base
    run.rows_in[name] = run.rows
    return run


def test_scores_that_are_linear_in_the_update_do_not_depart(quick):
    run = scaled_run("2", lambda change: 2 * change)
    for one in linearity(run, shared_weights(60, quick), {"negative": 10, "positive": 10}):
        assert (one.alpha, one.step) == (2.0, 10)
        assert one.departure == pytest.approx(0.0, abs=1e-12)
        assert one.accuracy == one.unscaled


def test_the_departure_is_the_share_that_linear_scores_miss(quick):
    # 2.6 times the change where 2 are expected: .6 / 2, on every question alike.
    run = scaled_run("2", lambda change: 2.6 * change)
    found = linearity(run, shared_weights(60, quick), {"negative": 10})[0]
    assert found.departure == pytest.approx(0.3)
    assert found.departure_interval == pytest.approx((0.3, 0.3))


def test_an_update_that_turns_the_direction_is_seen_in_accuracy(quick):
    run = scaled_run("0.5", lambda change: -0.5 * change)
    found = linearity(run, shared_weights(60, quick), {"negative": 24})[0]
    assert found.departure == pytest.approx(2.0)
    assert found.accuracy < found.unscaled - 0.3


def test_the_nearest_step_that_was_scored_is_taken(quick):
    run = scaled_run("2", lambda change: 2 * change[:6])
    found = linearity(run, shared_weights(60, quick), {"negative": 20})
    assert [one.step for one in found] == [5]


def test_the_collapse_shows_them_and_no_other_measure_takes_them_for_a_text(quick):
    run = scaled_run("2", lambda change: 2 * change)
    result = collapse(run, quick)
    assert [table.id for table in result.tables] == ["collapse", "scaled_adapters"]
    assert {one.head for one in result.facts["scaled_adapters"]} == {"positive", "negative"}
    assert [table.id for table in normalisations(run, quick).tables] == ["normalisations"]
    assert baselines(run, quick).facts["baselines"]["answer_only"] == {}
