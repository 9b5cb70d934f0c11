"""Six ways to say how few dimensions of a vector carry it.

Reference: science.md section 8; exact metrics of arXiv 2603.03415 for L0 and top energy.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

_TINY = torch.finfo(torch.float32).tiny

METRICS = {
    "hoyer": "(sqrt(n) - L1/L2) / (sqrt(n) - 1): 0 all equal, 1 one dimension",
    "gini": "Gini coefficient of abs(x): 0 all equal, 1 - 1/n one dimension",
    "pr": "participation ratio over n: (sum x^2)^2 / (n sum x^4), 1/n to 1",
    "kurtosis": "mean x^4 / (mean x^2)^2, not centred, not excess: 3 for a Gaussian",
    "l0": "share of dimensions with abs(x) above the block's eps, fixed on the base model",
    "top10_energy": "share of sum x^2 in the largest tenth of the dimensions, 0.1 to 1",
}


def sparsity(x: Float[Tensor, "row n"], eps: float) -> dict[str, Float[Tensor, " row"]]:
    """Measure the sparsity of each row.

    All but `l0` do not change with the scale of x. A row of zeros counts as constant:
    its dimensions are all equal.

    Args:
        x: Values; only abs(x) counts.
        eps: Threshold of `l0`, in the unit of x.
    """
    ordered = _ascending(x.abs().float())
    return _metrics(_sums(ordered), _above(ordered, eps))


def sorted_parts(
    x: Float[Tensor, "row n"], massive: Int[Tensor, " k"] | Int[Tensor, "row k"]
) -> tuple[Float[Tensor, "row rest"], Float[Tensor, "row k"]]:
    """Sort abs(x) of each row, the massive dimensions apart: the rest, and them.

    Args:
        x: Values; only abs(x) counts.
        massive: Dimensions that stand apart, each once: the same in all rows, or by row.
    """
    size, places = x.abs().float(), massive.expand(len(x), -1)
    large = _ascending(size.gather(1, places))
    # Zeros come first when sorted: cutting them off is cheaper than gathering the rest.
    rest = _ascending(size.scatter_(1, places, 0.0))
    return rest[:, places.shape[1] :].contiguous(), large


def pair_of_parts(
    rest: Float[Tensor, "row rest"],
    large: Float[Tensor, "row k"],
    eps: float | Float[Tensor, " row"],
) -> tuple[dict[str, Float[Tensor, " row"]], dict[str, Float[Tensor, " row"]]]:
    """Measure the sparsity of each row over all dimensions, and without the massive ones.

    The rest is sorted once and the massive dimensions are added to its sums. The other
    way round, taking large values out of sums, would lose all digits of what is small.

    Args:
        rest: The other dimensions, from `sorted_parts`.
        large: The massive dimensions, from `sorted_parts`.
        eps: Threshold of `l0`, in the unit of the values; it may differ by row.
    """
    part, above = _sums(rest), _above(rest, eps)
    whole = _joined(rest, part, large)
    return _metrics(whole, above + _above(large, eps)), _metrics(part, above)


def largest_dimensions(mean: Float[np.ndarray, " n"]) -> Int[np.ndarray, " k"]:
    """Pick the k = max(1, ceil(n / 100)) dimensions of largest mean abs(x), ascending."""
    k = massive_count(len(mean))
    return np.sort(np.argsort(-mean, kind="stable")[:k]).astype(np.int64)


def massive_count(n: int) -> int:
    """Count the dimensions that the trimmed metrics leave out: one percent, at least one."""
    return max(1, math.ceil(0.01 * n))


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over the dimensions of each row, of abs(x) divided by the row's largest."""

    n: int
    scale: Tensor
    l1: Tensor
    energy: Tensor
    fourth: Tensor
    ranked: Tensor
    """Of values times their rank, 1 for the smallest."""
    top: Tensor
    """Of squares, over the largest tenth of the dimensions."""


def _sums(ordered: Tensor) -> _Sums:
    n = ordered.shape[1]
    scale = ordered[:, -1]
    even = ordered / scale.clamp(min=_TINY)[:, None]
    square = even.square()
    return _Sums(
        n,
        scale,
        even.sum(1),
        square.sum(1),
        torch.linalg.vecdot(square, square),
        even @ _ranks(n, ordered.device),
        square[:, n - _tenth(n) :].sum(1),
    )


def _joined(rest: Tensor, part: _Sums, large: Tensor) -> _Sums:
    """Add a few sorted values to the sums of many sorted ones."""
    n, k = rest.shape[1] + large.shape[1], large.shape[1]
    scale = torch.maximum(part.scale, large[:, -1])
    unit = 1 / scale.clamp(min=_TINY)
    shrink, added = part.scale * unit, large * unit[:, None]
    place = torch.searchsorted(rest, large)
    until = rest.cumsum(1).gather(1, (place - 1).clamp(min=0))
    before = torch.where(place > 0, until, 0.0) * unit[:, None]
    l1 = part.l1 * shrink
    # Every value above an added one moves up by one rank.
    moved = (l1[:, None] - before).sum(1)
    own = ((place + _ranks(k, rest.device)) * added).sum(1)
    most = torch.cat([rest[:, -_tenth(n) :] * unit[:, None], added], dim=1).square()
    return _Sums(
        n,
        scale,
        l1 + added.sum(1),
        part.energy * shrink.square() + added.square().sum(1),
        part.fourth * shrink.square().square() + added.square().square().sum(1),
        part.ranked * shrink + moved + own,
        _ascending(most)[:, -_tenth(n) :].sum(1),
    )


def _metrics(sums: _Sums, above: Tensor) -> dict[str, Tensor]:
    n, root = sums.n, math.sqrt(sums.n)
    l1, energy = sums.l1, sums.energy
    kurtosis = n * sums.fourth / energy.square()
    hoyer = (root - l1 / energy.sqrt()) / (root - 1) if n > 1 else torch.zeros_like(l1)
    found = {
        "hoyer": (hoyer.clamp(0, 1), 0.0),
        "gini": ((2 * sums.ranked / (n * l1) - (n + 1) / n).clamp(0, 1), 0.0),
        "pr": (1 / kurtosis, 1.0),
        "kurtosis": (kurtosis, 1.0),
        "l0": (torch.where(l1.isfinite(), above.float() / n, torch.nan), None),
        "top10_energy": (sums.top / energy, _tenth(n) / n),
    }
    still = sums.scale == 0
    return {
        name: value if constant is None else torch.where(still, constant, value)
        for name, (value, constant) in found.items()
    }


def _above(ordered: Tensor, eps: float | Tensor) -> Tensor:
    limit = torch.as_tensor(eps, dtype=ordered.dtype, device=ordered.device)
    limit = limit.reshape(-1, 1).expand(len(ordered), 1).contiguous()
    return ordered.shape[1] - torch.searchsorted(ordered, limit, right=True)[:, 0]


def _ranks(n: int, device: torch.device) -> Tensor:
    return torch.arange(1, n + 1, dtype=torch.float32, device=device)


def _tenth(n: int) -> int:
    return math.ceil(0.1 * n)


def _ascending(x: Tensor) -> Tensor:
    if x.device.type == "cpu":  # NumPy sorts short float rows several times faster
        return torch.from_numpy(np.sort(x.numpy(), axis=1))
    return x.sort(dim=1).values
