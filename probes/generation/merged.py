"""One adapter from the pair of heads: a * (update of the positive - update of the negative).

Exact by concatenation: [a s+ B+ | -a s- B-] times [A+ over A-] has no cross terms and loses
nothing. (PEFT's "linear" weighting of factors keeps cross terms, its "svd" truncates.) This is
not the contrast of logits: a network is not linear in its weights, so weights and logits agree to
first order in the updates alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from critical_phase.checkpoints.random_adapter import update_norm
from critical_phase.errors import ConfigError
from critical_phase.probes.interventions.sources import Sources, Update
from critical_phase.probes.interventions.update import Term


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged update."""

    updates: Mapping[str, Update]
    """B, A and the scaling, which is 1, by the base's name of a module."""
    rank: int
    """Largest rank of a module."""
    error: float
    """Frobenius norm of what truncation left out, over that of the whole: 0 where it is exact."""
    worst: tuple[str, float]
    """Module that lost the largest share, and that share."""


def merge_heads(
    sources: Sources, positive: str, negative: str, alpha: float, rank: int | None = None
) -> Merged:
    """Concatenate the updates of two heads, and truncate where a rank is asked for.

    Args:
        sources: Where the two can be read.
        positive: Name of the head that is added.
        negative: Name of the head that is subtracted.
        alpha: Multiple of the difference.
        rank: Most columns of B; None keeps all, so nothing is lost.

    Raises:
        ConfigError: The rank is below 1.
    """
    if rank is not None and rank < 1:
        raise ConfigError(f"the rank is {rank}", fix="give --rank 1 or more, or leave it out")
    signed = {positive: alpha, negative: -alpha}
    names = {source: set(sources.modules(source)) for source in signed}
    made: dict[str, Update] = {}
    lost: dict[str, tuple[float, float]] = {}
    for module in sorted(set().union(*names.values())):
        terms = tuple(Term(s, f) for s, f in signed.items() if module in names[s])
        b, a = sources.together(terms, module)
        if rank is None or rank >= b.shape[1]:
            made[module], lost[module] = (b, a, 1.0), (0.0, update_norm(a, b, 1.0) ** 2)
            continue
        b, a, left, whole = truncated(b, a, rank)
        made[module], lost[module] = (b, a, 1.0), (left, whole)
    return _told(made, lost)


def truncated(
    b: np.ndarray, a: np.ndarray, rank: int
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Give the nearest product of lower rank, and the squared norms of what is lost and of all.

    By two QR decompositions and a small SVD (Eckart and Young 1936), in float64.
    """
    tall, inner_b = np.linalg.qr(b.astype(np.float64))
    wide, inner_a = np.linalg.qr(a.T.astype(np.float64))
    u, size, v = np.linalg.svd(inner_b @ inner_a.T)
    root = np.sqrt(size[:rank])
    new_b = (tall @ u[:, :rank] * root).astype(np.float32)
    new_a = ((wide @ v[:rank].T) * root).T.astype(np.float32)
    return new_b, new_a, float((size[rank:] ** 2).sum()), float((size**2).sum())


def _told(made: Mapping[str, Update], lost: Mapping[str, tuple[float, float]]) -> Merged:
    shares = {name: _share([pair]) for name, pair in lost.items()}
    worst = max(shares, key=lambda name: shares[name])
    rank = max(b.shape[1] for b, _, _ in made.values())
    return Merged(made, rank, _share(list(lost.values())), (worst, shares[worst]))


def _share(pairs: Sequence[tuple[float, float]]) -> float:
    left, whole = (sum(column) for column in zip(*pairs, strict=True))
    return float(np.sqrt(left / whole)) if whole else 0.0
