"""The largest eigenvalue of a symmetric matrix that is known by its products with vectors.

Lanczos iteration with full reorthogonalisation. The value is the Rayleigh quotient of the last
Ritz vector: never above the largest eigenvalue, and an eigenvalue lies within the residual of it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

MARGIN = 0.8
"""Share of the tolerance at which the search ends: the measured residual has rounding in it."""

Product = Callable[[Float[Tensor, " n"]], Float[Tensor, " n"]]


@dataclass(frozen=True, slots=True)
class TopEigenvalue:
    """The largest (not the largest in size) eigenvalue, and how well it is known."""

    value: float
    residual: float
    """|H v - value v| / |value|, measured with one more product; 0 where H is zero."""
    products: int
    """Products that were taken."""


def top_eigenvalue(
    product: Product,
    start: Float[Tensor, " n"],
    *,
    most: int,
    tolerance: float,
) -> TopEigenvalue:
    """Find the largest eigenvalue.

    Args:
        product: Multiplies a float64 vector by the matrix.
        start: Any vector with a part along the wanted eigenvector: a random one.
        most: Products before it ends unconverged.
        tolerance: Relative residual at which it ends.
    """
    basis = [start.double() / start.double().norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(min(most, start.numel())):
        new = product(basis[-1]).double()
        diagonal.append(float(new @ basis[-1]))
        for _ in range(2):  # once leaves a rest where much cancels
            for old in basis:
                new = new - (old @ new) * old
        length = float(new.norm())
        value, weights = _top_ritz(diagonal, beside)
        left = length * abs(float(weights[-1]))
        if left <= MARGIN * tolerance * abs(value) or length <= 1e-12 * _scale(diagonal, beside):
            break
        beside.append(length)
        basis.append(new / length)
    ritz = torch.stack(basis[: len(weights)], dim=1) @ weights.to(start.device)
    ritz = ritz / ritz.norm()
    image = product(ritz).double()
    value = float(ritz @ image)
    rest = float((image - value * ritz).norm())
    return TopEigenvalue(value, rest / abs(value) if rest else 0.0, len(diagonal) + 1)


def _top_ritz(diagonal: list[float], beside: list[float]) -> tuple[float, Float[Tensor, " k"]]:
    """Return the largest eigenpair of the tridiagonal matrix."""
    size = len(diagonal)
    off = torch.tensor(beside[: size - 1], dtype=torch.float64)
    small = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    small = small + torch.diag(off, 1) + torch.diag(off, -1) if size > 1 else small
    values, vectors = torch.linalg.eigh(small)
    return float(values[-1]), vectors[:, -1]


def _scale(diagonal: list[float], beside: list[float]) -> float:
    return max(map(abs, [*diagonal, *beside]))
