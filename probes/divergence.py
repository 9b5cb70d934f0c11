"""How far a checkpoint's next-token distributions are from the base model's.

Both distributions are computed on the very same batches, so an adapter that changes
nothing has a divergence of exactly 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from critical_phase.errors import CheckpointError
from critical_phase.probes.batches import Batch
from critical_phase.probes.plan import Plan
from critical_phase.probes.scoring import Scorer, Values

_TILE = 1 << 20
"""Log-probabilities compared at a time: small enough for a cache (3.5 times faster there)."""


def divergence(
    p: Float[Tensor, "place vocabulary"], q: Float[Tensor, "place vocabulary"]
) -> Float[Tensor, " place"]:
    """Compute KL(p || q) at every place, over the whole vocabulary.

    Every term is p (d + exp(-d) - 1) with d = log p - log q, which is never negative;
    the terms added to p d sum to zero. Rounding of the logarithms then enters squared,
    while the plain sum loses every divergence below the type's epsilon.

    Args:
        p: Log-probabilities, float32.
        q: Log-probabilities, float32.

    Returns:
        Divergence in nats, at least 0.
    """
    mass, other, gap = p.exp(), q.exp(), p - q
    near = mass * (gap + torch.expm1(-gap))
    far = mass * (gap - 1) + other
    terms = torch.where(gap.abs() < 1, near, far)
    # Where p is 0 only q's own mass is left, also where both logarithms are infinite.
    return torch.where(mass > 0, terms, other).sum(-1).clamp(min=0)


@dataclass(frozen=True, eq=False)
class Divergences:
    """What one checkpoint does to the rows of a plan, per row."""

    to_base: Float[np.ndarray, " row"]
    """KL(p_head || p_base), mean over the places that predict a token of the answer, nats."""
    from_base: Float[np.ndarray, " row"]
    """KL(p_base || p_head), the same mean."""
    first: Float[np.ndarray, " row"]
    """KL(p_head || p_base) at the last token before the answer."""
    loss: Float[np.ndarray, " row"]
    """Negative log-likelihood of the answer, summed over its tokens, nats."""


class BaseMemory:
    """Log-probabilities of the base model: kept where all of them fit, else made anew."""

    def __init__(self, plans: Sequence[Plan], vocabulary: int, limit_bytes: int) -> None:
        """Decide once, from the number of places in all plans."""
        places = sum(int(plan.tokens.sum()) for plan in plans)
        self.bytes = places * vocabulary * 4
        """What keeping everything takes."""
        self.kept = self.bytes <= limit_bytes
        self._rows: dict[tuple[str, int], Tensor] = {}

    @property
    def way(self) -> str:
        """`kept` or `recomputed`, for the file."""
        return "kept" if self.kept else "recomputed"

    def look_up(self, plan: Plan, batch: Batch) -> Tensor | None:
        """Return the log-probabilities of a batch [place, vocabulary], if they are kept."""
        keys = [(plan.sha256, row) for row in batch.rows.tolist()]
        if not all(key in self._rows for key in keys):
            return None
        return torch.cat([self._rows[key] for key in keys])

    def keep(self, plan: Plan, batch: Batch, values: Tensor) -> None:
        """Remember the log-probabilities of a batch, row by row."""
        if self.kept:
            sizes = plan.tokens[batch.rows].tolist()
            for row, part in zip(batch.rows.tolist(), torch.split(values, sizes), strict=True):
                self._rows[plan.sha256, row] = part.clone()


class DivergenceScorer(Scorer):
    """Compares a checkpoint with the base at every place that predicts an answer token.

    The plan has one row per question, so that no place belongs to two rows.
    """

    def __init__(
        self, unembed: nn.Module, plan: Plan, base: Callable[[Batch], Tensor], memory: BaseMemory
    ) -> None:
        """Note how the base's logits of a batch are made when they are not in memory."""
        super().__init__(unembed, plan.rows)
        self._plan, self._base, self._memory = plan, base, memory
        self._values = {name: np.full(plan.rows, np.nan) for name in Divergences.__annotations__}

    def read(self, logits: Tensor) -> Values:
        """Compare a batch's logits [1, place, vocabulary] with the base's, place by place."""
        batch = self._batch
        assert batch is not None
        _, source, token, _ = batch.targets
        assert np.array_equal(source, np.arange(len(source))), "a place belongs to two rows"
        reference, wanted = self._reference(batch), torch.from_numpy(token).to(logits.device)
        places = max(1, _TILE // logits.shape[-1])
        cuts = [slice(start, start + places) for start in range(0, len(source), places)]
        parts = [_compare(logits[0, cut], reference[cut], wanted[cut]) for cut in cuts]
        return batch, torch.cat(parts, dim=1)

    def add(self, *parts: Values) -> None:
        """Average over the places of each row."""
        for batch, values in parts:
            to_base, from_base, loss = values.cpu().double().numpy()
            local, _, _, first = batch.targets
            rows, size = batch.rows, len(batch.rows)
            count = np.bincount(local, minlength=size)
            self._values["to_base"][rows] = np.bincount(local, to_base, size) / count
            self._values["from_base"][rows] = np.bincount(local, from_base, size) / count
            self._values["loss"][rows] = np.bincount(local, loss, size)
            self._values["first"][rows[local[first == 1]]] = to_base[first == 1]

    @property
    def divergences(self) -> Divergences:
        """Every row's values, once every batch was added.

        Raises:
            CheckpointError: A value is not finite.
        """
        for name, values in self._values.items():
            if not np.isfinite(values).all():
                row = int(np.argmin(np.isfinite(values)))
                raise CheckpointError(
                    f"the model gives {values[row]} as {name} of {self._plan.question_ids[row]!r}",
                    fix="training diverged, or the weights are damaged: leave this step out",
                )
        return Divergences(**{k: v.astype(np.float32) for k, v in self._values.items()})

    def _reference(self, batch: Batch) -> Tensor:
        found = self._memory.look_up(self._plan, batch)
        if found is None:
            found = self._base(batch)[0].float().log_softmax(-1)
            self._memory.keep(self._plan, batch, found)
        return found


def _compare(logits: Tensor, base: Tensor, token: Tensor) -> Tensor:
    """Return both divergences and the loss of the token, per place [3, place]."""
    head = logits.float().log_softmax(-1)
    loss = -head.gather(-1, token[:, None])[:, 0]
    return torch.stack([divergence(head, base), divergence(base, head), loss])
