"""Sparsity of the residual stream at the read positions, every layer, all metrics.

The stream is read before the final norm, as `residual` reads it. arXiv 2603.03415 takes
the last state after the final norm: norms rescale dimensions, so values are not its own.
"""

import functools
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from critical_phase.probes.batches import Batch
from critical_phase.probes.collector import Arrays, Coordinate, Dataset, Scene
from critical_phase.probes.hooks import Hook, Hooks
from critical_phase.probes.positions import Positions
from critical_phase.probes.residual import stream_modules
from critical_phase.probes.sparsity import NAMES
from critical_phase.probes.sparsity_metrics import pair_of_parts, sorted_parts
from critical_phase.probes.sparsity_more import more_metrics

HOOK_NAME = "blocks.{layer}.hook_resid_post; layer -1 is blocks.0.hook_resid_pre"


class ResidualSparsity:
    """Measures what `sparsity` measures of MLPs, of the stream itself.

    Every metric is stored over all dimensions and, `_trimmed`, without the few massive
    ones that the base model fixed once at answer_end, for all positions alike.
    """

    name: ClassVar[str] = "residual_sparsity"

    def __init__(self, scene: Scene) -> None:
        """Note the sites and, per layer, which dimensions stay when massive ones go."""
        assert scene.residual_calibration is not None
        self._scene = scene
        self._calibration = scene.residual_calibration
        self._hooks = _hooks(scene, self._read)
        self._massive = [torch.from_numpy(one) for one in self._calibration.massive]
        self._values: list[Tensor] = []
        self._batch: Batch | None = None
        self._positions: Positions | None = None

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """One array of all metrics, and the two things the base model fixed."""
        about = "sparsity of abs(x); see the metric names and docs/format.md"
        dims = ("layer", "row", "position", "metric")
        trimmed = ("layer", "massive_residual")
        return (
            Dataset("residual_sparsity", dims, torch.float32, about, HOOK_NAME),
            Dataset("residual_sparsity_eps", ("layer",), torch.float32, "threshold of l0"),
            Dataset("residual_massive_dimensions", trimmed, torch.int32, "trimmed dimensions"),
        )

    @property
    def coordinates(self) -> dict[str, Coordinate]:
        """Metrics by name."""
        return {
            "layer": np.arange(-1, self._scene.sites.layers, dtype=np.int32),
            "position": self._scene.positions,
            "metric": NAMES,
            "massive_residual": np.arange(self._calibration.massive.shape[1], dtype=np.int32),
        }

    def attached(self) -> Hooks:
        """Hang on the input of every block and of the final norm."""
        return Hooks(self._hooks)

    def start(self, batch: Batch) -> None:
        """Measure the rows of this batch next."""
        self._batch = batch
        self._positions = Positions(self._scene.plan, batch, self._scene.positions)
        self._values.clear()

    def store(self, arrays: Arrays) -> None:
        """Copy every layer's metrics to its rows."""
        assert self._batch is not None
        rows, target = torch.from_numpy(self._batch.rows), arrays["residual_sparsity"]
        write = functools.partial(target.index_copy_, 1, rows)
        self._scene.transfer.send(torch.stack(self._values), write)
        self._values.clear()
        arrays["residual_sparsity_eps"].copy_(torch.from_numpy(self._calibration.eps))
        arrays["residual_massive_dimensions"].copy_(torch.from_numpy(self._calibration.massive))

    def _read(self, index: int, x: Tensor) -> None:
        assert self._positions is not None
        values = self._positions.read(x)
        flat = values.reshape(-1, values.shape[-1])
        self._massive[index] = massive = self._massive[index].to(flat.device)
        eps = float(self._calibration.eps[index])
        parts = sorted_parts(flat, massive)
        groups = (*pair_of_parts(*parts, eps), *more_metrics(*parts))
        found = [value for group in groups for value in group.values()]
        self._values.append(torch.stack(found, dim=1).reshape(*values.shape[:2], -1))


def _hooks(scene: Scene, read: object) -> list[Hook]:
    assert callable(read)
    return [
        Hook(module, "input", lambda x, at=index: read(at, x))  # type: ignore[misc]
        for index, module in enumerate(stream_modules(scene))
    ]
