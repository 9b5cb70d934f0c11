import numpy as np
import pytest

from critical_phase.analysis import MEASURES, AnalysisSettings, planted_run
from critical_phase.analysis.activity.tokens import MOST_HEADS, tokens
from critical_phase.analysis.states.activations import sorted_steps


@pytest.fixture(scope="module")
def run():
    return planted_run("switch", np.random.default_rng(0), questions=30, steps=9)


def rows_of(run, view):
    """Return the rows of the question that a view shows."""
    question = run.rows.question_ids.index(view.question_id)
    return np.flatnonzero(run.rows.question == question)


def test_attention_rows_are_those_of_the_run_under_the_last_head(run):
    settings = AnalysisSettings(draws=20)
    found = tokens(run, settings, {"attention": MEASURES["attention"](run, settings)})
    head, (_, steps) = run.heads[-1], sorted_steps(run, run.heads[-1])
    lengths = run.key_length()
    for view in found.tokens:
        for row, candidate in zip(rows_of(run, view), view.candidates, strict=True):
            for entry in candidate["attention"]:
                assert entry["head"] == head
                stored = run.attention_row_at(head, int(steps[-1]), entry["layer"])
                expected = stored[row, entry["attention_head"], : lengths[row]]
                assert entry["values"][-1] == pytest.approx(expected, abs=5.1e-5)


def test_the_heads_that_moved_most_are_kept_and_the_same_for_every_candidate(run):
    settings = AnalysisSettings(draws=20)
    attention = MEASURES["attention"](run, settings)
    found = tokens(run, settings, {"attention": attention})
    kept = {
        tuple(f"{e['layer']}.{e['attention_head']}" for e in candidate["attention"])
        for view in found.tokens
        for candidate in view.candidates
    }
    (drift,) = [m for m in attention.maps if m.id == f"attention_js.{run.heads[-1]}"]
    last = dict(zip(drift.row_labels, (row[-1] for row in drift.values), strict=True))
    most = sorted(last, key=lambda label: -last[label])[:MOST_HEADS]
    assert [set(one) for one in kept] == [set(most)]
    assert found.settings["attention_heads"] == len(most)


def test_without_the_measure_of_attention_the_last_layer_is_kept(run):
    found = tokens(run, AnalysisSettings())
    layers = {e["layer"] for v in found.tokens for c in v.candidates for e in c["attention"]}
    assert layers == {max(run.layers)}
