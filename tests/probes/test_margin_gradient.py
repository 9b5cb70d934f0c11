"""The gradient of the margin against finite differences, its choice of candidates, its limits."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from collector_reference import tokens_of

from critical_phase.errors import CheckpointError, ConfigError
from critical_phase.probes import (
    POSITION_NAMES,
    CollectSettings,
    Hook,
    Hooks,
    Plan,
    Unit,
    collect,
    resolve,
)
from critical_phase.probes.instrument import Instrument, prepare
from critical_phase.probes.margin import margins

SETTINGS = CollectSettings(("margin_gradient",), positions=POSITION_NAMES)


@pytest.fixture
def read(plan: Plan, make_model: Callable[..., Any]) -> Instrument:
    instrument = prepare(make_model("gpt2").double(), plan, SETTINGS)
    instrument.measure()
    return instrument


@torch.no_grad()
def score(model: Any, plan: Plan, row: int, layer: int, push: torch.Tensor) -> float:
    """Score one row while a vector per token is added to one layer of the stream."""
    modules = (*resolve(model).blocks, resolve(model).final_norm)
    with Hooks([Hook(modules[layer], "input", lambda x: x + push)]):
        logits = model(input_ids=tokens_of(plan, row)).logits[0].log_softmax(-1)
    places = torch.arange(len(plan.answers[row])) + int(plan.question_end[row])
    return float(logits[places, torch.tensor(plan.answers[row])].sum())


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_finite_differences_of_the_margin(layer: int, read: Instrument, plan: Plan) -> None:
    """Push the vector that a question's candidates share, in float64."""
    model, rows = read.scene.model, plan.rows_of[3]
    sign, width = read.arrays["margin_sign"], read.scene.d_model
    direction = torch.randn(width, generator=torch.Generator().manual_seed(1)).double()
    slope, step = 0.0, 1e-5
    for row in rows:
        push = torch.zeros(int(plan.key_length[row]), width).double()
        push[int(plan.question_end[row])] = direction
        up, down = (score(model, plan, row, layer, push * s) for s in (step, -step))
        slope += int(sign[row]) * (up - down) / (2 * step)
    found = read.arrays["margin_gradient"][layer, rows[0], 0].double() @ direction
    assert float(found) == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize("which", [1, -1])
def test_finite_differences_over_the_candidate(which: int, read: Instrument, plan: Plan) -> None:
    """Push all tokens of the right or of the best wrong candidate alike: n times the mean."""
    (row,) = [r for r in plan.rows_of[3] if int(read.arrays["margin_sign"][r]) == which]
    width, step = read.scene.d_model, 1e-5
    direction = torch.randn(width, generator=torch.Generator().manual_seed(2)).double()
    push = torch.zeros(int(plan.key_length[row]), width).double()
    push[int(plan.question_end[row]) + 1 :] = direction
    up, down = (score(read.scene.model, plan, row, 1, push * s) for s in (step, -step))
    found = read.arrays["margin_gradient"][1, row, 1].double() @ direction
    slope = which * (up - down) / (2 * step)
    assert float(found) * int(plan.tokens[row]) == pytest.approx(slope, rel=1e-4)


def test_rows_that_do_not_decide_the_margin_have_no_own_gradient(read: Instrument) -> None:
    sign, values = read.arrays["margin_sign"], read.arrays["margin_gradient"]
    assert not values[:, sign == 0, 1].any()
    assert bool(values[:, sign != 0, 1].flatten(2).any(-1).all())


def test_the_model_is_left_as_it_was(read: Instrument) -> None:
    parameters = list(read.scene.model.parameters())
    assert all(p.requires_grad and p.grad is None for p in parameters)


def test_the_best_wrong_candidate_and_ties(plan: Plan) -> None:
    scores = np.array([-3, -1, -2, -5, -4, -9, -1, -2, -1, -1, -7.0], dtype=np.float32)
    found = margins(plan, scores)
    assert found.sign.tolist() == [1, -1, 0, 1, -1, -1, 1, 1, -1, 0, 0]
    assert found.value.tolist() == [-2] * 3 + [-1] * 2 + [8] * 2 + [-1] * 4
    assert found.tied.tolist() == [1] * 7 + [2] * 4


def test_a_question_without_a_wrong_candidate_is_refused(plan: Plan) -> None:
    all_right = replace(plan, correct=np.ones(plan.rows, dtype=np.bool_))
    with pytest.raises(ConfigError, match="question 'q0' has no margin"):
        margins(all_right, np.zeros(plan.rows, dtype=np.float32))


def test_answer_end_alone_is_refused(
    plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    settings = replace(SETTINGS, positions=("answer_end",))
    with pytest.raises(ConfigError, match="no scored token comes after it"):
        collect(tmp_path, make_model("llama"), plan, (Unit("base", 0),), settings=settings)


def test_a_second_pass_with_other_scores_is_an_error(read: Instrument) -> None:
    scores = read.measure()
    wrong = replace(scores, logprob_sum=scores.logprob_sum + 1)
    with pytest.raises(CheckpointError, match="the pass with gradients gives other scores"):
        read.collectors[0].second_pass(read.packer, wrong, read.arrays)  # type: ignore[attr-defined]


def test_a_batch_that_does_not_fit_is_halved_and_counts_once(
    read: Instrument, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, calls = read.arrays["margin_gradient"].clone(), []
    true_store = type(read.collectors[0]).store

    def failing(self: Any, arrays: Any) -> None:
        calls.append(len(self._batch.rows))
        if len(calls) == 1:
            raise MemoryError
        true_store(self, arrays)

    monkeypatch.setattr(type(read.collectors[0]), "store", failing)
    read.measure()
    assert calls[0] == sum(calls[1:]) if len(read.packer) == 1 else len(calls) > len(read.packer)
    torch.testing.assert_close(read.arrays["margin_gradient"], before, rtol=1e-5, atol=1e-6)
