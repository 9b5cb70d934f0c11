"""Fisher traces: the linear-softmax model, autograd one by one, gauge, draws, hooks."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from softmax_model import VOCABULARY, SoftmaxModel
from torch import nn

from critical_phase.checkpoints import AdapterSlot, Example
from critical_phase.errors import CheckpointError, ConfigError
from critical_phase.probes.fisher_trace import draw_uniforms, squared_norms
from critical_phase.probes.hooks import count_hooks
from critical_phase.probes.weight_gradients import adapted_modules

EXAMPLES = tuple(
    Example(f"q{i}", "a", (0, *range(40 + i, 44 + i + i % 2)), tuple(range(60 + i, 62 + i + i % 3)))
    for i in range(6)
)
SHORT = tuple(
    Example(f"s{i}", "a", (i, 6 - i), answer) for i, answer in enumerate([(1, 2, 5), (4,), (0, 3)])
)


@pytest.fixture
def live(
    tmp_path: Path, make_adapters: Callable[..., Any], make_model: Callable[..., Any]
) -> Iterator[tuple[Any, dict[str, torch.Tensor]]]:
    series = make_adapters(tmp_path / "heads", "llama", (0, 1))
    slot = AdapterSlot.attach(make_model("llama"), series[1])
    with slot.live() as parameters:
        yield slot.model, parameters


def contexts(example: Example) -> list[tuple[int, int]]:
    """The token before each answer token, and that token."""
    tokens = [example.question_ids[-1], *example.answer_ids]
    return list(pairwise(tokens))


def by_hand(model: SoftmaxModel) -> np.ndarray:
    """|x|^2 (1 - |p|^2) summed over the positions of each answer."""
    found = []
    for example in SHORT:
        before = torch.tensor([token for token, _ in contexts(example)])
        p = model(before).logits.softmax(-1)
        squares = model.vectors[before].square().sum(1)
        found.append(float((squares * (1 - p.square().sum(1))).sum().detach()))
    return np.array(found)


def test_a_linear_softmax_model_has_its_known_trace() -> None:
    model, draws = SoftmaxModel(), 600
    norms = squared_norms(model, SHORT, draw_uniforms(SHORT, draws, 0), 8)
    each = norms.drawn[:, 0]  # draw, question
    error = each.std(axis=0, ddof=1) / np.sqrt(draws)
    assert np.all(np.abs(each.mean(axis=0) - by_hand(model)) < 4 * error)
    assert np.all(error < 0.08 * by_hand(model))


def test_the_true_answer_has_another_norm_and_is_exact() -> None:
    model = SoftmaxModel()
    norms = squared_norms(model, SHORT, draw_uniforms(SHORT, 1, 0), 8)
    for place, example in enumerate(SHORT):
        total = torch.zeros(VOCABULARY, 4)
        for before, token in contexts(example):
            p = model(torch.tensor([before])).logits[0].softmax(-1).detach()
            total += torch.outer(torch.eye(VOCABULARY)[token] - p, model.vectors[before])
        assert norms.true[0, place] == pytest.approx(float(total.square().sum()), rel=1e-5)
    assert not np.allclose(norms.true[0], by_hand(model), rtol=0.1)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_they_are_those_of_the_merged_weights_one_by_one(
    family: str, tmp_path: Path, make_adapters: Any, make_model: Any
) -> None:
    series = make_adapters(tmp_path / "heads", family, (1,))
    slot = AdapterSlot.attach(make_model(family), series[0])
    with slot.live():
        norms = squared_norms(slot.model, EXAMPLES, draw_uniforms(EXAMPLES, 1, 0), 4)
    modules = adapted_modules(slot.model)
    assert tuple(modules) == norms.modules
    weights = [module.get_base_layer().weight.requires_grad_(True)  # type: ignore[operator,union-attr]
               for module in modules.values()]  # fmt: skip
    assert slot.merged  # autograd below sees W + scaling B A as one tensor
    for place, example in enumerate(EXAMPLES):
        tokens = torch.tensor([[*example.question_ids, *example.answer_ids]])
        logs = slot.model(input_ids=tokens).logits[0].log_softmax(-1)
        start = len(example.question_ids) - 1
        score = sum(logs[start + i, t] for i, t in enumerate(example.answer_ids))
        gradients = torch.autograd.grad(score, weights)
        expected = [float(g.double().square().sum()) for g in gradients]
        np.testing.assert_allclose(norms.true[:, place], expected, rtol=1e-5)


def test_another_way_to_write_the_factors_changes_nothing(live: Any) -> None:
    """(B R, R^-1 A) is the same update; the gradients of A and B are others."""
    model, parameters = live
    uniforms = draw_uniforms(EXAMPLES, 2, 0)
    before, factors = squared_norms(model, EXAMPLES, uniforms, 8), factor_norm(model, parameters)
    turn = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.5, 1.0], [1.0, 0.0, 3.0]])
    with torch.no_grad():
        for name, tensor in parameters.items():
            tensor.copy_(tensor @ turn if "lora_B" in name else torch.linalg.solve(turn, tensor))
    after = squared_norms(model, EXAMPLES, uniforms, 8)
    np.testing.assert_allclose(after.drawn, before.drawn, rtol=2e-3)
    np.testing.assert_allclose(after.drawn.sum(1), before.drawn.sum(1), rtol=2e-4)
    assert abs(factor_norm(model, parameters) / factors - 1) > 0.5


def factor_norm(model: Any, parameters: dict[str, torch.Tensor]) -> float:
    tokens = torch.tensor([[0, 40, 41, 60]])
    score = model(input_ids=tokens).logits[0, 2].log_softmax(-1)[60]
    return float(sum(g.square().sum() for g in torch.autograd.grad(score, [*parameters.values()])))


def test_how_questions_are_put_together_changes_nothing(live: Any) -> None:
    model, parameters = live
    uniforms = draw_uniforms(EXAMPLES, 2, 0)
    one, many = (squared_norms(model, EXAMPLES, uniforms, batch) for batch in (1, 6))
    np.testing.assert_allclose(one.drawn, many.drawn, rtol=1e-4)
    again = squared_norms(model, EXAMPLES, uniforms, 6)
    np.testing.assert_array_equal(again.drawn, many.drawn)
    assert all(tensor.requires_grad for tensor in parameters.values())


def test_numbers_that_choose_tokens_depend_on_the_seed_alone() -> None:
    np.testing.assert_array_equal(draw_uniforms(SHORT, 3, 1), draw_uniforms(SHORT, 3, 1))
    assert not np.array_equal(draw_uniforms(SHORT, 3, 1), draw_uniforms(SHORT, 3, 2))
    assert draw_uniforms(SHORT, 3, 1).shape == (3, 3, 3)


def test_an_error_leaves_no_hook_and_training_mode_is_refused(live: Any) -> None:
    model, parameters = live
    hooks = count_hooks(model)

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    with model.lm_head.register_forward_pre_hook(broken), pytest.raises(RuntimeError, match="brok"):
        squared_norms(model, EXAMPLES, draw_uniforms(EXAMPLES, 1, 0), 4)
    assert count_hooks(model) == hooks
    assert all(tensor.requires_grad and tensor.grad is None for tensor in parameters.values())
    model.model.layers[0].train()
    with pytest.raises(ConfigError, match="in training mode"):
        squared_norms(model, EXAMPLES, draw_uniforms(EXAMPLES, 1, 0), 4)


def test_what_has_no_gradient_by_question_is_refused(live: Any) -> None:
    model, _ = live
    with pytest.raises(CheckpointError, match="no module of this model has an adapter"):
        adapted_modules(nn.Linear(2, 2))
    with torch.no_grad():
        model.lm_head.weight[3] = float("nan")
    with pytest.raises(CheckpointError, match="the gradient of question 'q0' is no finite"):
        squared_norms(model, EXAMPLES, draw_uniforms(EXAMPLES, 1, 0), 4)
