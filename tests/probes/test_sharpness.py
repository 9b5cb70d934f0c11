"""Largest eigenvalues: known matrices, an exact Hessian, attention, Adam's scaling."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from softmax_model import SoftmaxModel
from torch.func import functional_call

from critical_phase.checkpoints import AdapterSlot, Checkpoint, Example
from critical_phase.checkpoints.answer_loss import answer_loss, collate
from critical_phase.checkpoints.training_state import State, TrainingFolder
from critical_phase.errors import CheckpointError, ConfigError
from critical_phase.probes.adam_scaling import adam_scaling
from critical_phase.probes.lanczos import top_eigenvalue
from critical_phase.probes.sharpness import HessianProducts, Search, sharpness

SHORT = tuple(Example(f"s{i}", "a", (i, 6 - i), (1 + i, 2)) for i in range(4))
LONG = tuple(Example(f"q{i}", "a", (0, 40 + i, 41), (60 + i, 61)) for i in range(4))
TIGHT = Search(most=40, tolerance=1e-4, batch=8)


def start(size: int) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def matrix(values: list[float]) -> torch.Tensor:
    turn, _ = torch.linalg.qr(start(len(values) ** 2).view(len(values), -1))
    return turn @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ turn.T


def test_the_largest_eigenvalue_is_found_and_not_the_largest_in_size() -> None:
    whole = matrix([3.0, 2.5, 1.0, *[0.1] * 30, -8.0])
    found = top_eigenvalue(lambda v: whole @ v, start(34), most=40, tolerance=1e-6)
    assert found.value == pytest.approx(3.0, rel=1e-9)
    assert found.residual < 1e-6
    assert found.products <= 8  # five different eigenvalues, and one to measure the residual


def test_a_search_that_is_too_short_says_how_far_it_is_off() -> None:
    whole = matrix([float(x) for x in torch.linspace(0, 10, 60)])
    found = top_eigenvalue(lambda v: whole @ v, start(60), most=3, tolerance=1e-3)
    assert found.products == 4
    assert found.residual > 1e-3
    assert found.value < 10.0
    nearest = torch.linspace(0, 10, 60, dtype=torch.float64) - found.value
    assert float(nearest.abs().min()) <= found.residual * found.value


def test_a_flat_and_a_single_direction_are_no_trouble() -> None:
    flat = top_eigenvalue(lambda v: 0 * v, start(5), most=9, tolerance=0.1)
    assert (flat.value, flat.residual) == (0.0, 0.0)
    single = top_eigenvalue(lambda v: -2 * v, start(1), most=9, tolerance=0.1)
    assert single.value == pytest.approx(-2.0)


def exact(model: SoftmaxModel) -> torch.Tensor:
    """The Hessian of the mean loss per answer token in A and B, entry by entry."""
    factors = model.factors
    names = {id(p): n for n, p in model.named_parameters()}
    tokens, mask, labels = collate(SHORT, 0)

    def loss(flat: torch.Tensor) -> torch.Tensor:
        parts = flat.split([p.numel() for p in factors.values()])
        given = {names[id(p)]: q.view_as(p) for p, q in zip(factors.values(), parts, strict=True)}
        logits = functional_call(model, given, (tokens,), {"attention_mask": mask}).logits
        return answer_loss(logits, labels)

    flat = torch.cat([p.detach().flatten() for p in factors.values()])
    found = torch.autograd.functional.hessian(loss, flat)
    assert isinstance(found, torch.Tensor)
    return found.double()


def test_it_is_the_top_of_the_exact_hessian_and_of_it_under_a_scaling() -> None:
    model = SoftmaxModel()
    whole = exact(model)
    products = HessianProducts(model, model.factors, SHORT, 8)
    vector = start(len(whole))
    torch.testing.assert_close(products.times(vector), whole @ vector, rtol=1e-4, atol=1e-5)
    found = sharpness(products, torch.Generator().manual_seed(0), TIGHT)
    assert found.value == pytest.approx(float(torch.linalg.eigvalsh(whole)[-1]), rel=1e-4)
    scaling = torch.linspace(0.01, 2.0, len(whole), dtype=torch.float64)
    scaled = sharpness(products, torch.Generator().manual_seed(0), TIGHT, scaling)
    expected = torch.linalg.eigvals(whole / scaling[:, None]).real.max()
    assert scaled.value == pytest.approx(float(expected), rel=1e-4)
    assert scaled.value != pytest.approx(found.value, rel=0.1)


def test_passes_of_a_few_examples_add_up() -> None:
    model = SoftmaxModel()
    whole, parts = (HessianProducts(model, model.factors, SHORT, batch) for batch in (8, 3))
    vector = start(whole.size)
    for _ in range(2):  # the graph that is kept is good for more than one product
        torch.testing.assert_close(parts.times(vector), whole.times(vector), rtol=1e-5, atol=1e-7)


Held = tuple[AdapterSlot, tuple[Checkpoint, ...]]


@pytest.fixture
def held(tmp_path: Path, make_adapters: Callable[..., Any], make_model: Callable[..., Any]) -> Held:
    """A slot at the second of two checkpoints."""
    series = make_adapters(tmp_path / "heads", "llama", (0, 1))
    return AdapterSlot.attach(make_model("llama"), series[1]), series


def test_attention_is_differentiated_twice(held: Held) -> None:
    """Against differences of gradients, on a model whose attention is fused otherwise."""
    slot, _ = held
    assert slot.model.config._attn_implementation == "sdpa"
    with slot.live() as parameters:
        products = HessianProducts(slot.model, parameters, LONG, 8)
        vector = start(products.size)
        pieces = [
            p.view_as(t).float()
            for p, t in zip(
                vector.split([t.numel() for t in parameters.values()]),
                parameters.values(),
                strict=True,
            )
        ]
        ends = []
        for sign in (1, -1):
            move(parameters, pieces, sign * 1e-3)
            ends.append(slope(slot.model, parameters))
            move(parameters, pieces, -sign * 1e-3)
        expected = (ends[0] - ends[1]) / 2e-3
        found = products.times(vector)
    assert float((found - expected).norm() / expected.norm()) < 5e-3


def move(parameters: dict[str, torch.Tensor], pieces: list[torch.Tensor], far: float) -> None:
    with torch.no_grad():
        for tensor, piece in zip(parameters.values(), pieces, strict=True):
            tensor.add_(far * piece)


def slope(model: Any, parameters: dict[str, torch.Tensor]) -> torch.Tensor:
    tokens, mask, labels = collate(LONG, 0)
    loss = answer_loss(model(input_ids=tokens, attention_mask=mask).logits, labels)
    gradients = torch.autograd.grad(loss, [*parameters.values()])
    return torch.cat([g.double().flatten() for g in gradients])


def test_what_has_no_second_derivative_is_refused(held: Held) -> None:
    slot, _ = held
    with slot.live() as parameters:
        slot.model.train()
        with pytest.raises(ConfigError, match="in training mode"):
            HessianProducts(slot.model, parameters, LONG, 8)
        slot.model.eval()
        with torch.no_grad():
            slot.model.lm_head.weight[3] = float("inf")
        with pytest.raises(CheckpointError, match="second derivative of the training loss is no"):
            HessianProducts(slot.model, parameters, LONG, 8).times(
                start(sum(p.numel() for p in parameters.values()))
            )


def save_state(checkpoint: Checkpoint, parameters: dict[str, torch.Tensor], off: float) -> None:
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in parameters.items():
        long = name.replace(".weight", ".default.weight")
        tensors[f"parameter.{long}"] = tensor.detach() + off
        tensors[f"exp_avg_sq.{long}"] = torch.full_like(tensor, 4e-6)
    TrainingFolder(checkpoint.path.parent, {}).save_state(State(1, tensors, []))


def test_adams_scaling_is_that_of_its_next_step(held: Held) -> None:
    slot, series = held
    with slot.live() as parameters:
        assert adam_scaling(series[0], parameters) is None
        assert adam_scaling(series[1], parameters) is None
        save_state(series[1], parameters, 0.0)
        found = adam_scaling(series[1], parameters)
        assert found is not None
        assert found.numel() == sum(p.numel() for p in parameters.values())
        # after one step: (1 - .9) (sqrt(4e-6 / (1 - .999)) + 1e-8)
        torch.testing.assert_close(found, torch.full_like(found, 0.1 * (4e-3**0.5 + 1e-8)),
                                   rtol=1e-5, atol=0)  # fmt: skip
        save_state(series[1], parameters, 0.5)
        with pytest.raises(CheckpointError, match="belongs to other weights than the checkpoint"):
            adam_scaling(series[1], parameters)
