"""Residual stream of every layer at two positions, always before the final norm."""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from critical_phase.errors import StoreError
from critical_phase.probes.batches import Batch
from critical_phase.probes.collector import Arrays, Coordinate, Dataset, Scene
from critical_phase.probes.hooks import Hook, Hooks
from critical_phase.probes.plan import POSITIONS

FLOAT16_MAX = 65504.0


class Residual:
    """Reads `hook_resid_pre` of block 0 (layer -1) and `hook_resid_post` of block i (layer i).

    All are read as the input of what follows, so a block may return a tuple and the last
    layer is never the normed `hidden_states[-1]` of Hugging Face.
    """

    name: ClassVar[str] = "residual"

    def __init__(self, scene: Scene) -> None:
        """Note the sites."""
        self._scene = scene
        modules = (*scene.sites.blocks, scene.sites.final_norm)
        self._hooks = [
            Hook(module, "input", lambda x, at=index: self._read(at, x))  # type: ignore[misc]
            for index, module in enumerate(modules)
        ]
        self._read_values: dict[int, Tensor] = {}
        self._batch: Batch | None = None

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """One array of all layers and positions."""
        return (
            Dataset(
                "residual",
                ("layer", "row", "position", "d_model"),
                self._scene.storage_dtype,
                "residual stream in units of the model, before the final norm",
                "blocks.{layer}.hook_resid_post; layer -1 is blocks.0.hook_resid_pre",
            ),
        )

    @property
    def coordinates(self) -> dict[str, Coordinate]:
        """Layer -1 is the embedding."""
        return {
            "layer": np.arange(-1, self._scene.sites.layers, dtype=np.int32),
            "position": POSITIONS,
            "d_model": np.arange(self._scene.d_model, dtype=np.int32),
        }

    def attached(self) -> Hooks:
        """Hang on the input of every block and of the final norm."""
        return Hooks(self._hooks)

    def start(self, batch: Batch) -> None:
        """Read the two ends of every row of the batch."""
        self._batch = batch
        self._read_values.clear()

    def store(self, arrays: Arrays) -> None:
        """Copy every layer to its rows."""
        assert self._batch is not None
        rows = torch.from_numpy(self._batch.rows)
        target = arrays["residual"]
        for index in range(self._scene.sites.layers + 1):
            values = self._read_values.pop(index)
            if target.dtype == torch.float16:
                self._check_range(index - 1, values)
            target[index].index_copy_(0, rows, values.to(target.dtype).cpu())

    def _read(self, index: int, x: Tensor) -> None:
        assert self._batch is not None
        self._read_values[index] = x[self._batch.owner[:, None], self._batch.ends]

    def _check_range(self, layer: int, values: Tensor) -> None:
        assert self._batch is not None
        worst = values.abs().amax(dim=(1, 2))
        if bool((worst > FLOAT16_MAX).any()):
            row = int(self._batch.rows[int(worst.argmax())])
            raise StoreError(
                f"float16 cannot hold the residual of layer {layer}, row {row}: "
                f"{float(worst.max()):.6g} is above {FLOAT16_MAX:.0f}",
                where=f"blocks.{layer}.hook_resid_post",
                fix="store with --store-dtype auto or float32",
            )
