"""Six ways to say how few dimensions of a vector carry it.

Reference: science.md section 8; exact metrics of arXiv 2603.03415 for L0 and top energy.
"""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

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
    n = x.shape[1]
    size = x.abs().float()
    scale = size.amax(dim=1, keepdim=True)
    even = torch.where(scale > 0, size / scale.clamp(min=torch.finfo(size.dtype).tiny), 1.0)
    ordered = _ascending(even)
    square = ordered.square()
    l1, energy, fourth = ordered.sum(1), square.sum(1), square.square().sum(1)
    rank = torch.arange(1, n + 1, dtype=ordered.dtype, device=x.device)
    gini = 2 * (ordered @ rank) / (n * l1) - (n + 1) / n
    root = math.sqrt(n)
    hoyer = (root - l1 / energy.sqrt()) / (root - 1) if n > 1 else torch.zeros_like(l1)
    kurtosis = n * fourth / energy.square()
    return {
        "hoyer": hoyer.clamp(0, 1),
        "gini": gini.clamp(0, 1),
        "pr": 1 / kurtosis,
        "kurtosis": kurtosis,
        "l0": (size > eps).float().mean(1),
        "top10_energy": square[:, n - math.ceil(0.1 * n) :].sum(1) / energy,
    }


def largest_dimensions(mean: Float[np.ndarray, " n"]) -> Int[np.ndarray, " k"]:
    """Pick the k = max(1, ceil(n / 100)) dimensions of largest mean abs(x), ascending."""
    k = massive_count(len(mean))
    return np.sort(np.argsort(-mean, kind="stable")[:k]).astype(np.int64)


def massive_count(n: int) -> int:
    """Count the dimensions that the trimmed metrics leave out: one percent, at least one."""
    return max(1, math.ceil(0.01 * n))


def _ascending(x: Tensor) -> Tensor:
    if x.device.type == "cpu":  # NumPy sorts short float rows several times faster
        return torch.from_numpy(np.sort(x.numpy(), axis=1))
    return x.sort(dim=1).values
