"""Choose step size and pull of a series once, at one checkpoint, where the estimate is level.

The estimate grows with the reach of the chain, so a pull has no plateau of its own: the widest
reach is taken at which the step size has one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor

from critical_phase.errors import FitError
from critical_phase.probes.llc_sampler import Chain, Sampling, Target, sample_chain
from critical_phase.probes.llc_target import norm_of, size_of

REACHES = (0.25, 0.5, 1.0)
"""How far the pull alone lets a chain go, as shares of the norm of the checkpoint.

Further than that norm would be no neighbourhood: as far as the adapter is from nothing.
"""

PACES = (0.1, 0.2, 0.4)
"""Step size times pull: the share of its distance that a flat direction loses in two steps."""

LEVEL = 0.25
"""Largest relative difference of neighbouring step sizes on a plateau."""

SWEEP_CHAINS = 2


@dataclass(frozen=True, slots=True)
class Cell:
    """One setting that was tried."""

    reach: float
    pace: float
    lr: float
    gamma: float
    chains: tuple[Chain, ...]

    @property
    def llc(self) -> float:
        """Mean over chains, NaN where one broke off."""
        return sum(chain.llc for chain in self.chains) / len(self.chains)


@dataclass(frozen=True, slots=True)
class Choice:
    """What was tried and what is taken for the whole series."""

    cells: tuple[Cell, ...]
    reach: float
    lr: float
    gamma: float
    difference: float
    """Relative difference to the next larger step size."""
    plateau: bool
    """Whether that is small and the estimate positive; if not, the least difference is taken."""


def gamma_of(target: Target, reach: float) -> float:
    """Return the pull under which |w - w*| is that share of |w*|, were the loss flat."""
    distance = reach * norm_of(target.parameters)
    if not distance > 0:
        raise FitError(
            "all sampled parameters are zero here, so no reach follows from their norm",
            fix="sweep at a trained checkpoint, or give --gamma and --lr",
        )
    return size_of(target.parameters) / distance**2


def sweep(
    target: Target, here: Float[Tensor, " example"], sampling: Sampling, seed: Sequence[int]
) -> Choice:
    """Try every reach and pace, and choose.

    Args:
        target: The loss at the checkpoint.
        here: Loss of every example there.
        sampling: Everything but step size and pull.
        seed: Start of the chains, the same in every cell.

    Raises:
        FitError: No two neighbouring step sizes have finite chains.
    """
    cells = []
    for reach in REACHES:
        gamma = gamma_of(target, reach)
        for pace in PACES:
            one = replace(sampling, lr=pace / gamma, gamma=gamma)
            chains = tuple(
                sample_chain(target, here, one, (*seed, number)) for number in range(SWEEP_CHAINS)
            )
            cells.append(Cell(reach, pace, one.lr, gamma, chains))
    return choose(cells)


def choose(cells: Sequence[Cell]) -> Choice:
    """Take the widest reach with a plateau, and there the smallest step size of it.

    Without any plateau: the step size that differs least from the next.
    """
    pairs = [
        (_difference(one.llc, two.llc), one, min(one.llc, two.llc) > 0)
        for one, two in pairwise(cells)
        if one.reach == two.reach
    ]
    finite = [pair for pair in pairs if math.isfinite(pair[0])]
    if not finite:
        raise FitError(
            f"no two neighbouring step sizes of {len(cells)} settings have finite chains",
            fix="give --lr and --gamma: a smaller step size, a larger pull",
        )
    level = [pair for pair in finite if pair[0] <= LEVEL and pair[2]]
    widest = max((cell.reach for _, cell, _ in level), default=None)
    able = [pair for pair in level if pair[1].reach == widest]
    difference, cell, _ = able[0] if able else min(finite, key=lambda pair: pair[0])
    return Choice(tuple(cells), cell.reach, cell.lr, cell.gamma, difference, bool(level))


def _difference(one: float, two: float) -> float:
    """Return the difference over the larger size; NaN where either is none."""
    size = max(abs(one), abs(two))
    return abs(one - two) / size if size > 0 else math.nan
