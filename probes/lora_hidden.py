"""What each LoRA module makes of its input before it is turned back: the hidden vector Ax.

It has as many dimensions as the rank and exists in adapters alone. Where an adapter is
merged into the weights, Ax is worked out from the module's input and A: the same
product that the module would have made.
"""

import functools
from typing import Any, ClassVar

import numpy as np
import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor

from critical_phase.errors import CheckpointError, ConfigError
from critical_phase.probes.batches import Batch
from critical_phase.probes.collector import Arrays, Coordinate, Dataset, Scene
from critical_phase.probes.hooks import Hook, Hooks
from critical_phase.probes.positions import ANSWER_MEAN, Positions


class LoraHidden:
    """Reads the input of every LoRA module and multiplies it with the module's A, in A's type.

    One array per module, named `lora_hidden/<path of the module>`, padded with 0 from the
    module's own rank on. Not scaled: the module adds `scaling` times B Ax to its output.
    """

    name: ClassVar[str] = "lora_hidden"
    absent: ClassVar[str] = "the base model holds no adapter, so there is no LoRA hidden vector"

    def __init__(self, scene: Scene) -> None:
        """Find the modules: none where the model holds no adapter yet."""
        self._scene = scene
        self._layers = lora_layers(scene.model)
        self._ranks = [_rank(layer) for layer in self._layers.values()]
        self._values: dict[str, Tensor] = {}
        self._batch: Batch | None = None
        self._positions: Positions | None = None

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """One array per module, and each module's rank and scaling."""
        if not self._layers:
            return ()
        about = "Ax of this module, before scaling and B; 0 from the module's rank on"
        dims = ("row", "position", "lora_rank")
        each = ("lora_module",)
        return (
            *(
                Dataset(f"lora_hidden/{path}", dims, torch.float32, about, f"{path}.lora_A")
                for path in self._layers
            ),
            Dataset("lora_module_rank", each, torch.int32, "rank of each module"),
            Dataset("lora_module_scaling", each, torch.float32, "factor on B Ax of each module"),
        )

    @property
    def coordinates(self) -> dict[str, Coordinate]:
        """Modules by path, ranks from 0."""
        if not self._layers:
            return {}
        return {
            "position": self._scene.positions,
            "lora_module": tuple(self._layers),
            "lora_rank": np.arange(max(self._ranks), dtype=np.int32),
        }

    def attached(self) -> Hooks:
        """Hang on the input of every LoRA module."""
        return Hooks(
            [
                Hook(layer, "input", lambda x, at=path: self._read(at, x))  # type: ignore[misc]
                for path, layer in self._layers.items()
            ]
        )

    def start(self, batch: Batch) -> None:
        """Read the rows of this batch next."""
        self._batch = batch
        self._positions = Positions(self._scene.plan, batch, self._scene.positions)
        self._values.clear()

    def store(self, arrays: Arrays) -> None:
        """Copy every module's vectors to its rows.

        Raises:
            CheckpointError: A module did not run.
        """
        assert self._batch is not None
        if not self._layers:
            return
        if missing := [path for path in self._layers if path not in self._values]:
            raise CheckpointError(
                f"the LoRA module {missing[0]} did not run in this forward pass",
                fix="collect without lora_hidden",
            )
        together = torch.cat([self._values.pop(path) for path in self._layers], dim=2)
        write = functools.partial(self._write, arrays, torch.from_numpy(self._batch.rows))
        self._scene.transfer.send(together, write)
        scalings = [layer.scaling[_adapter(layer)] for layer in self._layers.values()]
        arrays["lora_module_rank"].copy_(torch.tensor(self._ranks))
        arrays["lora_module_scaling"].copy_(torch.tensor(scalings))

    def _write(self, arrays: Arrays, rows: Tensor, together: Tensor) -> None:
        parts = torch.split(together, self._ranks, dim=2)
        for path, values in zip(self._layers, parts, strict=True):
            arrays[f"lora_hidden/{path}"][:, :, : values.shape[2]].index_copy_(0, rows, values)

    def _read(self, path: str, x: Tensor) -> None:
        assert self._batch is not None
        assert self._positions is not None
        lines, slots = self._batch.inputs["input_ids"].shape
        among = self._scene.among
        each = among is not None or x.shape[:2] == (lines, slots) or x.shape[0] == lines * slots
        if not each:
            raise CheckpointError(
                f"the LoRA module {path} gets {tuple(x.shape)}, which is not one vector per token "
                "(an expert sees some tokens alone)",
                fix="collect without lora_hidden",
            )
        layer = self._layers[path]
        name = _adapter(layer)
        if name in layer.lora_A:
            weight = layer.lora_A[name].weight
            # The mean of Ax over tokens is A times the mean of x.
            self._values[path] = (
                self._positions.read(x, among).to(weight.dtype) @ weight.T
            ).float()
        else:
            table = layer.lora_embedding_A[name].T
            self._values[path] = self._look_up(x, table).float()

    def _look_up(self, ids: Tensor, table: Tensor) -> Tensor:
        """Read rows of a table of vectors by token; the mean needs the vectors of all tokens."""
        assert self._positions is not None
        if ANSWER_MEAN in self._positions.names:
            return self._positions.read(table[ids])
        return table[self._positions.read(ids)]


def lora_layers(model: torch.nn.Module) -> dict[str, Any]:
    """List the LoRA modules of a model by their path in it, in order."""
    return {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, LoraLayer) and (module.lora_A or module.lora_embedding_A)
    }


def refuse_full_weights(kinds: set[str]) -> None:
    """Refuse to read adapters of checkpoints that are whole sets of weights.

    Raises:
        ConfigError: They are.
    """
    if "full" in kinds:
        raise ConfigError(
            "lora_hidden reads LoRA adapters, and these checkpoints are full weights",
            fix="leave lora_hidden out of --collect",
        )


def _adapter(layer: Any) -> str:
    names = [*layer.lora_A, *layer.lora_embedding_A]
    return str(names[0]) if len(names) == 1 else str(layer.active_adapters[0])


def _rank(layer: Any) -> int:
    return int(layer.r[_adapter(layer)])
