"""Sample around a checkpoint to estimate its local learning coefficient.

The law that is sampled is exp(-n beta L(w) - gamma/2 |w - w*|^2), by stochastic gradient
Langevin dynamics (SGLD); lambda = n beta (E[L(w)] - L(w*)) with beta = 1/log n
(Lau et al. 2023, https://arxiv.org/abs/2308.12108, eq. 11). On a quadratic with curvatures h it
is sum_i n beta h_i / (2 (n beta h_i + gamma)).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

Method = Literal["sgld", "rmsprop"]


@runtime_checkable
class Target(Protocol):
    """A loss that is a mean over examples."""

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """Tensors that are sampled, in place; all require gradients."""
        ...

    @property
    def count(self) -> int:
        """Examples, n."""
        ...

    def losses(self, chosen: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Return the loss of some examples at the present parameters, in nats."""
        ...


@dataclass(frozen=True, slots=True)
class Sampling:
    """How chains run; the same for all checkpoints of a series."""

    lr: float
    """Step size epsilon: the noise of a step has the variance lr, before preconditioning."""
    gamma: float
    """Strength of the pull to the checkpoint."""
    beta: float | None = None
    """Inverse temperature; None: 1/log n."""
    method: Method = "rmsprop"
    burn_in: int = 30
    """Steps before the first draw; they are in no mean."""
    draws: int = 30
    """Steps whose loss counts, one draw each."""
    chains: int = 4
    batch: int = 16
    """Examples per step, drawn with replacement."""

    def heat(self, count: int) -> float:
        """Return n beta."""
        return count * (1 / math.log(count) if self.beta is None else self.beta)


@dataclass(frozen=True, slots=True)
class Chain:
    """What one chain found."""

    llc: float
    """n beta times the mean of L(w) - L(w*) over its draws; NaN where it broke off."""
    halves: tuple[float, float]
    """The same over the first and the second half of its draws: apart, it still drifts."""
    distance: float
    """Mean of |w - w*| over the draws."""
    failed: int | None
    """Step at which loss or gradient was no finite number, None where none was."""


@torch.no_grad()
def losses_at(target: Target, batch: int) -> Float[Tensor, " example"]:
    """Return the loss of every example at the present parameters."""
    return torch.cat([target.losses(part).double() for part in parts_of(target.count, batch)])


def parts_of(count: int, most: int) -> list[Int[Tensor, " batch"]]:
    """Cut the numbers of all examples into parts of at most so many."""
    most = max(1, most)
    return [torch.arange(start, min(count, start + most)) for start in range(0, count, most)]


def sample_chain(
    target: Target, here: Float[Tensor, " example"], sampling: Sampling, seed: Sequence[int]
) -> Chain:
    """Run one chain from the present parameters, and put them back.

    Args:
        target: The loss; its parameters are w*.
        here: Loss of every example at w*. Draws are compared with it example by example, which
            takes the noise of the choice of examples out of the difference and changes no mean.
        sampling: Step size, pull, number of steps.
        seed: Equal numbers give equal noise and batches, at any checkpoint.
    """
    tensors = list(target.parameters.values())
    start = [tensor.detach().clone() for tensor in tensors]
    choose = torch.Generator().manual_seed(_seed(seed, 0))
    noise = torch.Generator(tensors[0].device).manual_seed(_seed(seed, 1))
    scale = _Scale(sampling)
    heat, gaps, far = sampling.heat(target.count), [], []
    failed = None
    try:
        for step in range(sampling.burn_in + sampling.draws):
            chosen = torch.randint(target.count, (sampling.batch,), generator=choose)
            with torch.enable_grad():
                losses = target.losses(chosen)
                gradients = gradients_of(losses.mean(), tensors)
            gap = float((losses.detach().double().cpu() - here[chosen].cpu()).mean())
            if not (math.isfinite(gap) and all(bool(g.isfinite().all()) for g in gradients)):
                failed = step
                break
            if step >= sampling.burn_in:
                gaps.append(gap)
                far.append(_distance(tensors, start))
            factors = scale.after(gradients)
            _move(tensors, start, gradients, factors, heat, sampling, noise)
    finally:
        with torch.no_grad():
            for tensor, first in zip(tensors, start, strict=True):
                tensor.copy_(first)
    return _chain(gaps, far, heat, failed)


def gradients_of(loss: Float[Tensor, ""], tensors: Sequence[Tensor]) -> list[Tensor]:
    """Differentiate; a tensor that takes no part in these examples has a gradient of zeros."""
    found = torch.autograd.grad(loss, tensors, allow_unused=True)
    pairs = zip(found, tensors, strict=True)
    return [torch.zeros_like(t) if gradient is None else gradient for gradient, t in pairs]


class _Scale:
    """Diagonal preconditioner: 1 for SGLD; for rmsprop 1/(root of mean squares + their level).

    It is learnt in the first half of burn-in and then held. One that follows the chain needs a
    term of its own slope, which is usually left out and biases what is sampled (1512.07666,
    section 4); the second half lets the chain forget where it was when it was learnt.
    Its mean is 1, so that a step size means the same with and without it.
    """

    def __init__(self, sampling: Sampling) -> None:
        self._learns = 0 if sampling.method == "sgld" else max(1, sampling.burn_in // 2)
        self._seen = 0
        self._squares: list[Tensor] = []
        self._factors: list[Tensor] = []

    def after(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Return the factors of a step, learning from its gradients while there is time."""
        if not self._factors:
            self._factors = [torch.ones((), device=g.device, dtype=g.dtype) for g in gradients]
            self._squares = [torch.zeros_like(g) for g in gradients]
        if self._seen < self._learns:
            self._seen += 1
            for mean, gradient in zip(self._squares, gradients, strict=True):
                mean.lerp_(gradient.square(), 1 / self._seen)
            self._factors = _inverse_roots(self._squares)
        return self._factors


def _inverse_roots(squares: Sequence[Tensor]) -> list[Tensor]:
    """Return 1/(root + mean root), scaled to the mean 1 over all parameters."""
    roots = [square.sqrt() for square in squares]
    count = sum(root.numel() for root in roots)
    level = float(sum(root.double().sum() for root in roots)) / count
    if level <= 0:
        return [torch.ones_like(root) for root in roots]
    found = [1 / (root + level) for root in roots]
    mean = float(sum(one.double().sum() for one in found)) / count
    return [one / mean for one in found]


@torch.no_grad()
def _move(
    tensors: Sequence[Tensor],
    start: Sequence[Tensor],
    gradients: Sequence[Tensor],
    factors: Sequence[Tensor],
    heat: float,
    sampling: Sampling,
    noise: torch.Generator,
) -> None:
    """Take one Langevin step."""
    for w, first, gradient, factor in zip(tensors, start, gradients, factors, strict=True):
        pull = heat * gradient + sampling.gamma * (w - first)
        kick = torch.randn(w.shape, generator=noise, device=w.device, dtype=w.dtype)
        w.add_((sampling.lr * factor).sqrt() * kick - 0.5 * sampling.lr * factor * pull)


def _distance(tensors: Sequence[Tensor], start: Sequence[Tensor]) -> float:
    squares = [
        (w.detach() - s).double().square().sum() for w, s in zip(tensors, start, strict=True)
    ]
    return math.sqrt(float(sum(squares)))


def _chain(gaps: Sequence[float], far: Sequence[float], heat: float, failed: int | None) -> Chain:
    """Sum a chain up."""
    if failed is not None or not gaps:
        return Chain(math.nan, (math.nan, math.nan), math.nan, failed)
    half = max(1, len(gaps) // 2)
    first, second, whole = (heat * sum(p) / len(p) for p in (gaps[:half], gaps[-half:], gaps))
    return Chain(whole, (first, second), sum(far) / len(far), None)


def _seed(numbers: Sequence[int], stream: int) -> int:
    """Mix numbers into one seed of 63 bits."""
    import numpy as np  # a sequence of seeds is what it has and torch has not

    state = np.random.SeedSequence([*numbers, stream]).generate_state(2, np.uint32)
    return (int(state[0]) << 31) ^ int(state[1])
