"""Residual stream of every layer at the read positions, always before the final norm."""

import functools
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from critical_phase.errors import StoreError
from critical_phase.probes.batches import Batch
from critical_phase.probes.collector import Arrays, Coordinate, Dataset, Scene
from critical_phase.probes.hooks import Hook, Hooks
from critical_phase.probes.positions import Positions
from critical_phase.probes.sites import need

FLOAT16_MAX = 65504.0
SITES = ("pre", "mid", "post")
"""Places of a block in the stream. `pre` and `post` are one array: what leaves block i
enters block i + 1."""
STREAM, MID = "residual", "residual_mid"


class Residual:
    """Reads `hook_resid_pre` of block 0 (layer -1) and `hook_resid_post` of block i (layer i).

    All are read as the input of what follows, so a block may return a tuple and the last
    layer is never the normed `hidden_states[-1]` of Hugging Face. On request also
    `hook_resid_mid`, between attention and MLP, as an array of its own.
    """

    name: ClassVar[str] = "residual"

    def __init__(self, scene: Scene) -> None:
        """Note the sites.

        Raises:
            CheckpointError: Mid is to be read, and some block has none.
        """
        self._scene = scene
        self._modules: dict[str, tuple[nn.Module, ...]] = {}
        if {"pre", "post"} & set(scene.residual_sites):
            self._modules[STREAM] = stream_modules(scene)
        if "mid" in scene.residual_sites:
            need(scene.model, scene.sites, "mid")
            self._modules[MID] = scene.sites.mid
        self._values: dict[str, list[Tensor]] = {}
        self._batch: Batch | None = None
        self._positions: Positions | None = None

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """One array of all layers and positions, and one of all blocks where mid is read."""
        about, dtype = "residual stream in units of the model", self._scene.storage_dtype
        rest = ("row", "position", "d_model")
        stream = Dataset(
            STREAM,
            ("layer", *rest),
            dtype,
            f"{about}, before the final norm",
            "blocks.{layer}.hook_resid_post; layer -1 is blocks.0.hook_resid_pre",
        )
        mid = Dataset(
            MID,
            ("block", *rest),
            dtype,
            f"{about}, after attention and before the MLP of a block",
            "blocks.{block}.hook_resid_mid",
        )
        return tuple(one for one in (stream, mid) if one.name in self._modules)

    @property
    def coordinates(self) -> dict[str, Coordinate]:
        """Layer -1 is the embedding."""
        layers = self._scene.sites.layers
        axes: dict[str, Coordinate] = {
            "position": self._scene.positions,
            "d_model": np.arange(self._scene.d_model, dtype=np.int32),
        }
        if STREAM in self._modules:
            axes["layer"] = np.arange(-1, layers, dtype=np.int32)
        if MID in self._modules:
            axes["block"] = np.arange(layers, dtype=np.int32)
        return axes

    def attached(self) -> Hooks:
        """Hang on the input of every block and of the final norm, and on mid where it is read."""
        return Hooks(
            [
                Hook(module, "input", lambda x, into=name: self._read(into, x))  # type: ignore[misc]
                for name, modules in self._modules.items()
                for module in modules
            ]
        )

    def start(self, batch: Batch) -> None:
        """Read the rows of this batch next."""
        self._batch = batch
        self._positions = Positions(self._scene.plan, batch, self._scene.positions)
        self._values = {name: [] for name in self._modules}

    def store(self, arrays: Arrays) -> None:
        """Copy every layer to its rows, in one transfer from the device per array."""
        assert self._batch is not None
        for name, values in self._values.items():
            assert len(values) == len(self._modules[name])
            write = functools.partial(_write, name, arrays[name], self._batch.rows)
            self._scene.transfer.send(torch.stack(values), write)
            values.clear()

    def _read(self, name: str, x: Tensor) -> None:
        assert self._positions is not None
        self._values[name].append(self._positions.read(x))


def _write(name: str, target: Tensor, rows: np.ndarray, values: Tensor) -> None:
    """Copy [site, row, position, d] to its rows, in the type of the file."""
    if target.dtype == torch.float16:
        _check_range(name, rows, values)
    target.index_copy_(1, torch.from_numpy(rows), values.to(target.dtype))


def _check_range(name: str, rows: np.ndarray, values: Tensor) -> None:
    # What is infinite in the model is infinite in float16 too: nothing is lost.
    size = values.float().abs().masked_fill_(~values.isfinite(), 0.0)
    worst = size.amax(dim=(2, 3))
    if not bool((worst > FLOAT16_MAX).any()):
        return
    site = int((worst > FLOAT16_MAX).any(dim=1).int().argmax())  # the first of them
    local = int(worst[site].argmax())
    layer, hook = (site - 1, "post") if name == STREAM else (site, "mid")
    place = "blocks.0.hook_resid_pre" if layer < 0 else f"blocks.{layer}.hook_resid_{hook}"
    raise StoreError(
        f"float16 cannot hold the residual of layer {layer}, row {int(rows[local])}: "
        f"{float(worst[site, local]):.6g} is above {FLOAT16_MAX:.0f}",
        where=place,
        fix="store with --store-dtype auto or float32",
    )


def stream_modules(scene: Scene) -> tuple[nn.Module, ...]:
    """Return the modules whose inputs are the layers -1, 0, ... of the residual stream."""
    return (*scene.sites.blocks, scene.sites.final_norm)


def ordered(chosen: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Put names into the order in which files hold them; a name given twice counts once."""
    return tuple(name for name in known if name in chosen)
