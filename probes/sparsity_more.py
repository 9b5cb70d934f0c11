"""The metrics of arXiv 2603.03415 that are not among the six of `sparsity_metrics`.

L1 is not divided by anything, and `l0_own` takes its threshold from the vector itself;
both are as that paper's code has them. Energies of the largest 1, 5 and 7 percent stand
beside `top10_energy`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

MORE = {
    "l1": "sum of abs(x), in the unit of x; changes with the scale of x",
    "effective_rank": "exp(entropy of abs(x) / sum abs(x)) / n: 1/n one dimension, 1 all equal",
    "l0_own": "share of dimensions with abs(x) above mean + 1 standard deviation of the row's own",
    "top1_energy": "share of sum x^2 in the largest hundredth of the dimensions",
    "top5_energy": "share of sum x^2 in the largest twentieth of the dimensions",
    "top7_energy": "share of sum x^2 in the largest 7 percent of the dimensions",
}
_PERCENT = {"top1_energy": 1, "top5_energy": 5, "top7_energy": 7}
_TINY = torch.finfo(torch.float32).tiny


def more_metrics(
    rest: Float[Tensor, "row rest"], large: Float[Tensor, "row k"]
) -> tuple[dict[str, Float[Tensor, " row"]], dict[str, Float[Tensor, " row"]]]:
    """Measure each row over all dimensions, and without the massive ones.

    A row of zeros counts as constant: its dimensions are all equal.

    Args:
        rest: abs(x) without the massive dimensions, sorted up; see `sorted_parts`.
        large: abs(x) of the massive dimensions, sorted up.
    """
    unit = torch.maximum(rest[:, -1], large[:, -1])
    scale = 1 / unit.clamp(min=_TINY)[:, None]  # so that no square overflows
    rest, large = rest * scale, large * scale
    few = _ceil(max(_PERCENT.values()) * (rest.shape[1] + large.shape[1]))
    # Sums of the rest first: taking large values out of sums loses the digits of small ones.
    sums = _sums(rest)
    more = _sums(large)
    both = (sums[0] + more[0], sums[1] + more[1], sums[2] + more[2])
    most = torch.cat([rest[:, -few:], large], dim=1).sort(dim=1).values
    whole = _Parts((rest, large), most, *both, unit)
    return _metrics(whole), _metrics(_Parts((rest,), rest[:, -few:], *sums, unit))


@dataclass(frozen=True, slots=True)
class _Parts:
    """One row's values over its largest one, and their sums."""

    values: tuple[Tensor, ...]
    """Sorted up, each by itself."""
    most: Tensor
    """At least the largest 7 percent, sorted up."""
    total: Tensor
    energy: Tensor
    log_sum: Tensor
    """Of x log x."""
    unit: Tensor


def _sums(even: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    logs = even.clamp(min=_TINY).log_()
    return even.sum(1), torch.linalg.vecdot(even, even), torch.linalg.vecdot(even, logs)


def _metrics(parts: _Parts) -> dict[str, Tensor]:
    n = sum(values.shape[1] for values in parts.values)
    total, energy = parts.total, parts.energy
    mean = total / n
    limit = mean + (energy / n - mean.square()).clamp(min=0.0).sqrt()
    below = [torch.searchsorted(v, limit[:, None], right=True)[:, 0] for v in parts.values]
    above = (n - torch.stack(below).sum(0)).float() / n
    still, safe = total <= 0, total.clamp(min=_TINY)
    # H = log T - (sum x log x) / T for shares x / T
    rank = torch.exp(safe.log() - parts.log_sum / safe) / n
    found = {
        "l1": total * parts.unit,
        "effective_rank": torch.where(still, 1.0, rank.clamp(max=1.0)),
        "l0_own": torch.where(total.isfinite(), above, torch.nan),
    }
    top = parts.most.flip(1).square().cumsum(1) / energy.clamp(min=_TINY)[:, None]
    for name, percent in _PERCENT.items():
        count = _ceil(percent * n)
        found[name] = torch.where(still, count / n, top[:, count - 1].clamp(max=1.0))
    return found


def _ceil(hundredths: int) -> int:
    """Round up; in whole numbers, because 0.07 * 100 is more than 7."""
    return -(-hundredths // 100)
