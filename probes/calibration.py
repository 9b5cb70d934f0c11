"""What the base model fixes for sparsity, once per run: thresholds and massive dimensions."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from critical_phase.probes.batches import Batch, Packer
from critical_phase.probes.collector import Calibration, Scene
from critical_phase.probes.forward import attached, in_batches
from critical_phase.probes.hooks import Hook, Hooks
from critical_phase.probes.scoring import Scorer
from critical_phase.probes.sparsity import answer_ends
from critical_phase.probes.sparsity_metrics import largest_dimensions


@torch.no_grad()
def calibrate(scene: Scene, packer: Packer, modules: Sequence[nn.Module]) -> Calibration:
    """Read all rows at answer_end, on the base model.

    Args:
        scene: The model, holding the base.
        packer: Its batches.
        modules: One per site; their inputs are read.

    Returns:
        Per site the threshold and the massive dimensions.
    """
    moments, scorer = _Moments(modules), Scorer(scene.sites.unembed, scene.plan.rows)

    def run(batch: Batch) -> None:
        scorer.start(batch)
        moments.start(batch)
        scene.model(**batch.inputs)
        moments.add()

    with attached([scorer, moments]):
        in_batches(packer, run)
    return moments.result()


class _Moments:
    """Sums over rows of abs(x) and its square, by site and dimension."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._hooks = [
            Hook(module, "input", lambda x, at=site: self._read(at, x))  # type: ignore[misc]
            for site, module in enumerate(modules)
        ]
        self._sums: dict[int, Tensor] = {}
        self._squares: dict[int, Tensor] = {}
        self._rows = 0
        self._batch: Batch | None = None
        self._sizes: dict[int, Tensor] = {}

    def attached(self) -> Hooks:
        """Hang on the input of every site's module."""
        return Hooks(self._hooks)

    def start(self, batch: Batch) -> None:
        """Read the rows of the next forward pass."""
        self._batch = batch
        self._sizes.clear()

    def add(self) -> None:
        """Count what the last forward pass gave, once it ended: one that fails counts nothing."""
        assert self._batch is not None
        self._rows += len(self._batch.rows)
        for site, size in self._sizes.items():
            self._sums[site] = self._sums.get(site, 0.0) + size.sum(0)
            self._squares[site] = self._squares.get(site, 0.0) + size.square().sum(0)

    def result(self) -> Calibration:
        """Sum up: per site mean + one (population) standard deviation, and top dimensions."""
        sums, squares = (
            torch.stack([part[site] for site in range(len(self._hooks))]).cpu().numpy()
            for part in (self._sums, self._squares)
        )
        mean_by_dimension = sums / self._rows
        mean = mean_by_dimension.mean(axis=1)
        square = (squares / self._rows).mean(axis=1)
        eps = mean + np.sqrt(np.maximum(square - mean**2, 0.0))
        massive = np.stack([largest_dimensions(one) for one in mean_by_dimension])
        return Calibration(eps.astype(np.float32), massive)

    def _read(self, site: int, x: Tensor) -> None:
        assert self._batch is not None
        self._sizes[site] = answer_ends(x, self._batch).abs().double()
