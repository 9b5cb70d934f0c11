"""Attention, sparsity and weights do not depend on the order in which checkpoints are listed."""

import dataclasses
import json

import numpy as np
import pytest

from critical_phase.analysis import MEASURES, AnalysisSettings, planted_run, to_json

NAMES = ("attention_spans", "sparsity_difficulty", "state_rank", "weight_spaces", "instability")


@pytest.fixture(scope="module")
def runs():
    """A run, and the same with its checkpoints shuffled."""
    run = planted_run("switch", np.random.default_rng(0), steps=20)
    order = np.random.default_rng(1).permutation(20)
    stepwise = ("scores/positive", "scores/negative", "residual/", "attention/", "sparsity/")
    mixed = dataclasses.replace(
        run,
        step_list=run.step_list[order],
        tables={k: v[order] if k.startswith(stepwise) else v for k, v in run.tables.items()},
        weights={head: [path[i] for i in order] for head, path in run.weights.items()},
        logs={head: run.training_log(head) for head in run.heads},
    )
    return run, mixed


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_checkpoints_changes_nothing(name, runs):
    settings = AnalysisSettings(draws=40, permutations=20)
    first, second = (json.dumps(to_json(MEASURES[name](run, settings))) for run in runs)
    assert first == second
