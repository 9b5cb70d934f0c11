"""The control of attention patterns: every row moves as far as the donor's is away, at random."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from critical_phase.probes.batches import Batch
from critical_phase.probes.interventions.bench import Bench
from critical_phase.probes.interventions.patterns import Given, Heads, Patterns, read_patterns
from critical_phase.probes.interventions.update import State

SHARP = 3.0
"""Spread of the logits of a random row: most of it lies on a few keys, as in a pattern."""
_TINY = 1e-9


class RandomPatterns(Patterns):
    """Mixes every row with a random one until it lies as far off as the donor's row does.

    Far is total variation, half the sum of absolute differences. What a key is worth in a random
    row goes with its distance from the query, so that one draw is one change for all questions.
    Where all of the random row is too near, the row goes towards the key that it attends to least,
    which is as far as any row can be.
    """

    def __init__(self, donor: State, recipient: State, heads: Heads, seed: int) -> None:
        """Note what is changed, how far, and the seed of the rows.

        Args:
            donor: State whose patterns say how far a row moves.
            recipient: State of the model that is run.
            heads: Which attention heads.
            seed: Of the random rows.
        """
        super().__init__(donor, heads)
        self._recipient, self._seed = recipient, seed
        self._far: dict[int, Tensor] = {}

    def prepare(self, bench: Bench, batch: Batch) -> None:
        """Read the donor's and the model's own patterns of this batch, and how far they are."""
        super().prepare(bench, batch)
        with bench.under(self._recipient):
            own = read_patterns(bench, batch, tuple(self._heads))
        self._far = {block: _apart(own[block], self._patterns[block]) for block in self._heads}

    def _given(self, block: int) -> Given:
        def moved(own: Tensor) -> Tensor:
            far, random = self._far[block].to(own), self._rows(block, own)
            random = torch.where(_apart(own, random) < far, _farthest(own), random)
            part = far / _apart(own, random).clamp_min(_TINY)
            return own + part.clamp_max(1.0) * (random - own)

        return moved

    def _rows(self, block: int, own: Tensor) -> Tensor:
        """Draw rows over the keys that the model itself may attend to."""
        heads, queries, keys = own.shape[1:]
        rng = np.random.default_rng([self._seed, 47, block])
        # Drawn by distance first, so that a longer batch draws the same for shorter distances.
        worth = torch.from_numpy(rng.standard_normal((max(queries, keys), heads))).to(own)
        apart = torch.arange(queries)[:, None] - torch.arange(keys)[None]
        logits = SHARP * worth[apart.abs().to(own.device)].permute(2, 0, 1)
        rows = logits.where(own > 0, -torch.inf).softmax(-1).nan_to_num(0.0)
        return rows * own.sum(-1, keepdim=True)  # below 1 where a sink takes the rest


def _farthest(own: Float[Tensor, "line head query key"]) -> Float[Tensor, "line head query key"]:
    """Return rows that lie wholly on the key that each attends to least, of those it may see."""
    least = own.where(own > 0, torch.inf).argmin(-1, keepdim=True)
    return torch.zeros_like(own).scatter(-1, least, own.sum(-1, keepdim=True))


def _apart(
    one: Float[Tensor, "line head query key"], other: Float[Tensor, "line head query key"]
) -> Float[Tensor, "line head query 1"]:
    """Return the total variation between rows."""
    return (one - other).abs().sum(-1, keepdim=True) / 2
