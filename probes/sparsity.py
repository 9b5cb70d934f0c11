"""Sparsity of each block's MLP activations at the last token of the answer."""

import functools
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from critical_phase.probes.batches import Batch
from critical_phase.probes.collector import Arrays, Coordinate, Dataset, Scene
from critical_phase.probes.hooks import Hook, Hooks
from critical_phase.probes.positions import read_slots
from critical_phase.probes.sparsity_metrics import (
    METRICS,
    pair_of_parts,
    sorted_parts,
)
from critical_phase.probes.sparsity_more import MORE, more_metrics

HOOK_NAME = "blocks.{block}.mlp.hook_post"
_AT_ONCE = 1 << 20
"""Values that are measured together."""
NAMES = tuple(
    name + ending for group in (METRICS, MORE) for ending in ("", "_trimmed") for name in group
)


class Sparsity:
    """Reads `mlp.hook_post`: what goes into the last linear map of each MLP.

    Every metric is stored twice: over all dimensions, and without the few massive ones
    that the base model fixed once, because one large dimension can decide a metric.
    """

    name: ClassVar[str] = "sparsity"
    version: ClassVar[int] = 2
    """2: also the metrics of `sparsity_more`."""

    def __init__(self, scene: Scene) -> None:
        """Note the sites and what the base model fixed."""
        assert scene.calibration is not None
        self._scene, self._calibration = scene, scene.calibration
        self._blocks = scene.sites.layers
        self._hooks = post_hooks(scene, self._read)
        self._eps = torch.from_numpy(self._calibration.eps)
        self._massive = torch.from_numpy(self._calibration.massive)
        self._values: dict[int, Tensor] = {}
        self._batch: Batch | None = None

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """One array of all metrics, and the two things the base model fixed."""
        about = "sparsity of abs(x); see the metric names and docs/format.md"
        return (
            Dataset("sparsity", ("block", "row", "metric"), torch.float32, about, HOOK_NAME),
            Dataset("sparsity_eps", ("block",), torch.float32, "threshold of l0 on abs(x)"),
            Dataset("massive_dimensions", ("block", "massive"), torch.int32, "trimmed dimensions"),
        )

    @property
    def coordinates(self) -> dict[str, Coordinate]:
        """Metrics by name."""
        return {
            "block": np.arange(self._blocks, dtype=np.int32),
            "metric": NAMES,
            "massive": np.arange(self._calibration.massive.shape[1], dtype=np.int32),
        }

    def attached(self) -> Hooks:
        """Hang on the input of every block's last MLP map."""
        return Hooks(self._hooks)

    def start(self, batch: Batch) -> None:
        """Read the last answer token of every row of the batch."""
        self._batch = batch
        self._values.clear()

    def store(self, arrays: Arrays) -> None:
        """Copy every block's metrics to its rows."""
        assert self._batch is not None
        rows = torch.from_numpy(self._batch.rows)
        at_once = max(1, _AT_ONCE // self._values[0].numel())
        for begin in range(0, self._blocks, at_once):
            blocks = range(begin, min(begin + at_once, self._blocks))
            found = self._metrics(blocks, [self._values.pop(block) for block in blocks])
            write = functools.partial(arrays["sparsity"][begin : blocks.stop].index_copy_, 1, rows)
            self._scene.transfer.send(found, write)
        arrays["sparsity_eps"].copy_(torch.from_numpy(self._calibration.eps))
        arrays["massive_dimensions"].copy_(torch.from_numpy(self._calibration.massive))

    def _read(self, block: int, x: Tensor) -> None:
        assert self._batch is not None
        self._values[block] = answer_ends(x, self._batch, self._scene.among)

    def _metrics(self, blocks: range, values: list[Tensor]) -> Tensor:
        """Measure [block, row, metric] of some blocks together: small rows cost their calls."""
        rows, device = len(values[0]), values[0].device
        chosen = slice(blocks.start, blocks.stop)
        eps = self._eps[chosen].to(device).repeat_interleave(rows)
        massive = self._massive[chosen].to(device).repeat_interleave(rows, dim=0)
        parts = sorted_parts(torch.cat(values), massive)
        groups = (*pair_of_parts(*parts, eps), *more_metrics(*parts))
        found = [value for group in groups for value in group.values()]
        return torch.stack(found, dim=1).reshape(len(values), rows, -1)


def post_hooks(scene: Scene, read: object) -> list[Hook]:
    """Make one hook per block that hands `read` the block's number and its hook_post."""
    assert callable(read)
    return [
        Hook(module, "input", lambda x, at=block: read(at, x))  # type: ignore[misc]
        for block, module in enumerate(scene.sites.mlp_out)
    ]


def answer_ends(x: Tensor, batch: Batch, among: Tensor | None = None) -> Tensor:
    """Copy the rows' last answer tokens [row, n]; for `x` and `among` see `read_slots`."""
    return read_slots(x, batch, batch.owner, batch.ends[:, 1], among)
