"""Send the rows through the model once more, with gradients of each question's margin.

The margin is the log-likelihood of the right candidate minus that of the best wrong one,
both summed over their tokens. No instrument but the one that takes the gradients is
attached, so what was collected before does not change.
"""

from typing import ClassVar, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from critical_phase.errors import CheckpointError
from critical_phase.probes.batches import Batch, Packer
from critical_phase.probes.collector import Arrays, Scene
from critical_phase.probes.forward import Listener, attached, in_batches
from critical_phase.probes.frozen import frozen
from critical_phase.probes.layout import TOLERANCES
from critical_phase.probes.margin import margins
from critical_phase.probes.scoring import Scorer, Scores, token_logprobs


class Differentiates(Listener, Protocol):
    """A collector that takes gradients of the margin."""

    name: ClassVar[str]

    def differentiate(self, margin: Float[Tensor, ""]) -> None:
        """Take gradients of the summed margins of a batch, whose graph is still there."""

    def store(self, arrays: Arrays) -> None:
        """Add what was taken to the rows of `arrays`; called once per batch, at its end."""


class MarginPass:
    """The second pass of one checkpoint, and what it is a pass over."""

    def __init__(self, scene: Scene, scores: Scores) -> None:
        """Choose the candidates that decide each margin.

        Args:
            scene: The model and the plan.
            scores: Of all rows, from the first pass.

        Raises:
            ConfigError: A question has no wrong candidate, or no right one.
        """
        plan = scene.plan
        self.margins = margins(plan, scores.logprob_sum)
        self.leader = np.array([rows[0] for rows in plan.rows_of])[plan.question]
        """First row of each row's question."""
        self._scene, self._scores = scene, scores

    def run(self, packer: Packer, collector: Differentiates, arrays: Arrays) -> None:
        """Run every batch with the collector attached.

        Raises:
            CheckpointError: The pass gives other scores than the first.
        """
        scorer = Scorer(self._scene.sites.unembed, self._scene.plan.rows)
        with frozen(self._scene.model), attached([scorer, collector]), torch.enable_grad():
            in_batches(packer, lambda batch: self._one(batch, scorer, collector, arrays))

    def leading(self, rows: np.ndarray, owner: Tensor) -> tuple[Tensor, Tensor]:
        """Say where what a line holds in common is added up: once per line, by question.

        Args:
            rows: Rows of a batch.
            owner: Their lines.

        Returns:
            One place in the batch per line, in the order of lines, and the first row of
            that line's question.
        """
        _, first = np.unique(owner.cpu().numpy(), return_index=True)
        return torch.from_numpy(first), torch.from_numpy(self.leader[rows[first]])

    def _one(self, batch: Batch, scorer: Scorer, collector: Differentiates, arrays: Arrays) -> None:
        collector.start(batch)
        scorer.start(batch)
        logits = self._scene.model(**batch.inputs).logits
        local, source, token, _ = batch.targets
        taken = token_logprobs(logits[0], torch.from_numpy(source), torch.from_numpy(token))
        self._check(batch, local, taken, collector.name)
        sign = torch.from_numpy(self.margins.sign[batch.rows[local]]).to(taken)
        collector.differentiate((taken * sign).sum())
        collector.store(arrays)

    def _check(self, batch: Batch, local: np.ndarray, taken: Tensor, name: str) -> None:
        values = taken.detach().double().cpu().numpy()
        again = np.bincount(local, values, minlength=len(batch.rows))
        before = self._scores.logprob_sum[batch.rows]
        gap = float((np.abs(again - before) / np.maximum(np.abs(before), 1.0)).max())
        limit = TOLERANCES.get(self._scene.model.dtype, 1e-4)  # type: ignore[call-overload]
        if not gap <= limit:
            raise CheckpointError(
                f"the pass with gradients gives other scores: they differ by {gap:.1e} "
                f"(limit {limit:.0e})",
                fix=f"collect without {name}",
            )
