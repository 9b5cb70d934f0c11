"""Squared gradient norms are those of the training loss, example by example."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from critical_phase.checkpoints import AdapterSlot, Checkpoint, Example
from critical_phase.checkpoints.answer_loss import answer_loss, collate
from critical_phase.errors import CheckpointError
from critical_phase.probes.gradient_noise import gradient_norms

EXAMPLES = tuple(
    Example(f"q{i}", "a", (0, *range(40 + i, 46 + i)), tuple(range(60 + 2 * i, 63 + 2 * i)))
    for i in range(5)
)


@pytest.fixture
def series(tmp_path: Path, make_adapters: Callable[..., Any]) -> tuple[Checkpoint, ...]:
    made: tuple[Checkpoint, ...] = make_adapters(tmp_path / "heads", "llama", (0, 1))
    return made


@pytest.fixture
def slot(series: tuple[Checkpoint, ...], make_model: Callable[..., Any]) -> AdapterSlot:
    return AdapterSlot.attach(make_model("llama"), series[1])


@pytest.fixture
def live(slot: AdapterSlot) -> Iterator[dict[str, torch.Tensor]]:
    with slot.live() as parameters:
        yield parameters


def batch_loss(model: Any, batch: tuple[Example, ...]) -> torch.Tensor:
    tokens, mask, labels = collate(batch, 0)
    return answer_loss(model(input_ids=tokens, attention_mask=mask).logits, labels)


def test_they_are_those_of_backward_on_each_example(
    slot: AdapterSlot, live: dict[str, torch.Tensor]
) -> None:
    found = gradient_norms(slot.model, live, EXAMPLES)
    for index, example in enumerate(EXAMPLES):
        for parameter in live.values():
            parameter.grad = None
        batch_loss(slot.model, (example,)).backward()
        squares = [float(p.grad.square().sum()) for p in live.values() if p.grad is not None]
        assert found.single[index] == pytest.approx(sum(squares), rel=1e-5)


def test_the_mean_gradient_is_that_of_a_training_batch_of_equal_answers(
    slot: AdapterSlot, live: dict[str, torch.Tensor]
) -> None:
    found = gradient_norms(slot.model, live, EXAMPLES)
    together = torch.autograd.grad(batch_loss(slot.model, EXAMPLES), list(live.values()))
    expected = sum(float(g.double().square().sum()) for g in together)
    assert found.mean == pytest.approx(expected, rel=1e-4)
    assert found.loss.mean() == pytest.approx(batch_loss(slot.model, EXAMPLES).item(), rel=1e-5)


def test_they_agree_with_torch_func(slot: AdapterSlot, live: dict[str, torch.Tensor]) -> None:
    names = {id(p): n for n, p in slot.model.named_parameters()}
    given = {names[id(p)]: p.detach() for p in live.values()}

    def loss(values: dict[str, torch.Tensor], example: Example) -> torch.Tensor:
        tokens, mask, labels = collate([example], 0)
        inputs = {"input_ids": tokens, "attention_mask": mask}
        out: Any = torch.func.functional_call(slot.model, values, (), inputs)
        return answer_loss(out.logits, labels)

    single = [torch.func.grad(loss)(given, example) for example in EXAMPLES]
    expected = [sum(float(g.square().sum()) for g in one.values()) for one in single]
    found = gradient_norms(slot.model, live, EXAMPLES)
    np.testing.assert_allclose(found.single, expected, rtol=1e-5)


def test_a_step_along_the_gradient_lowers_the_loss_by_its_square(
    slot: AdapterSlot, live: dict[str, torch.Tensor]
) -> None:
    slot.model.double()  # finite differences of float32 losses are rounding
    example = EXAMPLES[:1]
    found = gradient_norms(slot.model, live, example)
    gradients = torch.autograd.grad(batch_loss(slot.model, example), list(live.values()))
    size, losses = 1e-5, []
    for sign in (1, -2):
        with torch.no_grad():
            for parameter, gradient in zip(live.values(), gradients, strict=True):
                parameter += sign * size * gradient
        losses.append(batch_loss(slot.model, example).double().item())
    # answer_loss is float32: its rounding over the difference of the two losses.
    assert (losses[0] - losses[1]) / (2 * size) == pytest.approx(found.single[0], rel=0.02)


def test_at_the_start_only_b_has_a_gradient(
    series: tuple[Checkpoint, ...], make_model: Callable[..., Any]
) -> None:
    slot = AdapterSlot.attach(make_model("llama"), series[0])
    with slot.live() as parameters:
        loss = batch_loss(slot.model, EXAMPLES)
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        moved = {
            name.split(".")[-2] for name, g in zip(parameters, gradients, strict=True) if g.any()
        }
        only = {name: p for name, p in parameters.items() if "lora_B" in name}
        both = gradient_norms(slot.model, parameters, EXAMPLES)
        part = gradient_norms(slot.model, only, EXAMPLES)
    assert moved == {"lora_B"}
    np.testing.assert_array_equal(both.single, part.single)


def test_a_merged_model_is_the_same_before_and_after(
    series: tuple[Checkpoint, ...], make_model: Callable[..., Any]
) -> None:
    slot, ids = AdapterSlot.attach(make_model("llama"), series[1]), torch.arange(40, 60)[None]
    assert slot.merged
    with torch.no_grad():
        before = slot.model(ids).logits
    with slot.live() as parameters:
        beside = slot.model(ids).logits.detach()
    with pytest.raises(KeyError), slot.live():
        raise KeyError
    with torch.no_grad():
        after = slot.model(ids).logits
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    torch.testing.assert_close(beside, before, rtol=1e-4, atol=1e-4)
    assert not any(p.requires_grad for p in parameters.values())


class Planted(nn.Module):
    """A model of two tokens whose one logit is w . x: each gradient is a known multiple of x."""

    def __init__(self, inputs: torch.Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(inputs.shape[1]))
        self.inputs, self.device = inputs, torch.device("cpu")

    def forward(self, input_ids: torch.Tensor, **_: Any) -> Any:
        value = self.inputs[input_ids[:, 0]] @ self.w
        logits = torch.stack([value, torch.zeros_like(value)], -1)[:, None].expand(-1, 2, -1)
        return type("Output", (), {"logits": logits})


def test_the_planted_noise_scale_comes_back() -> None:
    """Gradients are -x / 2 with x of known mean and covariance, so tr(cov) / |mean|^2 is known."""
    generator = torch.Generator().manual_seed(0)
    mean, sd, count = torch.full((20,), 0.5), 1.5, 1500
    model = Planted(mean + sd * torch.randn(count, 20, generator=generator))
    examples = [Example(f"q{i}", "a", (i,), (0,)) for i in range(count)]
    found = gradient_norms(model, {"w": model.w}, examples)
    n = len(examples)
    signal = (n * found.mean - found.single.mean()) / (n - 1)
    noise = (found.single.mean() - found.mean) * n / (n - 1)
    assert noise / signal == pytest.approx(20 * sd**2 / float(mean @ mean), rel=0.1)


def test_equal_examples_have_no_noise(slot: AdapterSlot, live: dict[str, torch.Tensor]) -> None:
    found = gradient_norms(slot.model, live, EXAMPLES[:1] * 4)
    assert found.mean == pytest.approx(found.single.mean(), rel=1e-6)


def test_a_diverged_model_is_an_error(slot: AdapterSlot, live: dict[str, torch.Tensor]) -> None:
    slot.model.lm_head.weight.data[3] = float("nan")
    with pytest.raises(CheckpointError, match=r"gradient of example 0 .* is nan"):
        gradient_norms(slot.model, live, EXAMPLES)


def test_a_detached_adapter_is_an_error(slot: AdapterSlot) -> None:
    loose = {"w": torch.zeros(3, requires_grad=True)}
    with pytest.raises(CheckpointError, match="no gradient reaches the adapter"):
        gradient_norms(slot.model, loose, EXAMPLES)
