"""How a training withholds an update: no gradient, no read, or no write, for a window of steps.

Outside of its window a test does nothing at all, so up to the window's start every number is that
of the training without it.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from critical_phase.checkpoints.blocks import (
    blocks_of,
    stream_of,
    width_of,
    with_stream,
    writers_of,
)
from critical_phase.checkpoints.withheld import Withheld, drawn_direction
from critical_phase.checkpoints.withheld_places import layers_named, places_named
from critical_phase.errors import ConfigError

Parameters = Mapping[str, nn.Parameter]


class Withholding:
    """A training without a test: every call passes."""

    @contextlib.contextmanager
    def reading(self, step: int) -> Iterator[None]:
        """Change what the forward passes of a step read."""
        yield

    def before_update(self, step: int) -> None:
        """Take gradients away before they are summed, clipped and used."""

    def after_update(self, step: int) -> None:
        """Change what an update wrote."""


class Freeze(Withholding):
    """Some parameters get no update: their gradient is dropped.

    Without a gradient AdamW passes a parameter by: it moves neither by the step nor by weight
    decay, and its moments and their count stand still. The norm that is clipped is that of the
    free parameters.
    """

    def __init__(self, withheld: Withheld, parameters: Parameters) -> None:
        """Look the parameters up.

        Raises:
            ConfigError: The places name no parameter, or nothing would be frozen.
        """
        named = places_named(withheld.places, parameters)
        frozen = named if withheld.kind == "freeze" else frozenset(parameters) - named
        if not frozen:
            raise ConfigError(
                f"training {withheld.places} alone freezes nothing: the adapter has no other part",
                fix="name fewer layers or modules",
            )
        self._withheld = withheld
        self._frozen = [parameters[name] for name in sorted(frozen)]

    def before_update(self, step: int) -> None:
        """Drop the gradients."""
        if self._withheld.acts(step):
            for parameter in self._frozen:
                parameter.grad = None


class ProjectState(Withholding):
    """The states after some blocks lose their part along a direction: h - v (v . h).

    Gradients pass through the projection, so nothing is learnt that works through the direction
    there. What is saved is the plain adapter; it is read without the projection.
    """

    def __init__(self, withheld: Withheld, adapter: nn.Module) -> None:
        """Look blocks and directions up.

        Raises:
            ConfigError: The blocks are not found, or the direction has another width.
        """
        self._withheld = withheld
        blocks = blocks_of(adapter)
        layers = layers_named(withheld.places, len(blocks))
        vectors = unit_vectors(withheld, width_of(adapter), layers, len(blocks))
        self._places = [(blocks[i][1], v) for i, v in zip(layers, vectors, strict=True)]

    @contextlib.contextmanager
    def reading(self, step: int) -> Iterator[None]:
        """Hook the blocks for one step."""
        if not self._withheld.acts(step):
            yield
            return
        handles = [block.register_forward_hook(_projection(v)) for block, v in self._places]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


class ProjectWrite(Withholding):
    """What the adapter adds to the residual stream in some blocks loses its part along a direction.

    After each step of the window B <- B - v (v . B), in every module of these blocks whose output
    is added to the stream; so v . (scaling B A x) is 0 for every x. A part that was there before
    the window goes with its first step. The optimizer's moments are left as they are.
    """

    def __init__(self, withheld: Withheld, adapter: nn.Module, parameters: Parameters) -> None:
        """Look the rows of B up.

        Raises:
            ConfigError: No adapted module writes there, or the update is not B A alone.
        """
        self._withheld = withheld
        blocks = blocks_of(adapter)
        layers = layers_named(withheld.places, len(blocks))
        vectors = unit_vectors(withheld, width_of(adapter), layers, len(blocks))
        self._places: list[tuple[nn.Parameter, Tensor]] = []
        for layer, vector in zip(layers, vectors, strict=True):
            writers = writers_of(adapter, (blocks[layer],))
            found = [n for n in parameters if any(n.startswith(f"{w}.") for w in writers)]
            if odd := [name for name in found if ".lora_A." not in name and ".lora_B." not in name]:
                raise ConfigError(
                    f"what is written also depends on {odd[0]}, so B alone decides nothing",
                    fix="use --project-mode state, or train without DoRA, biases and whole modules",
                )
            self._places += [(parameters[name], vector) for name in found if ".lora_B." in name]
        if not self._places:
            raise ConfigError(
                f"no adapted module writes into the residual stream in the layers "
                f"{withheld.places}",
                fix="adapt one with --targets (down_proj, o_proj), or use --project-mode state",
            )

    def after_update(self, step: int) -> None:
        """Project the rows of B."""
        if not self._withheld.acts(step):
            return
        with torch.no_grad():
            for parameter, vector in self._places:
                v, rows = vector.to(parameter.device), parameter.double()
                along = v @ rows if rows.ndim == 1 else (v @ rows)[None]
                parameter.copy_(rows - (v if rows.ndim == 1 else v[:, None]) * along)


def withholding(
    withheld: Withheld | None, adapter: nn.Module, parameters: Parameters
) -> Withholding:
    """Make ready what a recipe withholds.

    Raises:
        ConfigError: It does not fit the adapter or the model.
    """
    if withheld is None:
        return Withholding()
    if withheld.kind == "project_state":
        return ProjectState(withheld, adapter)
    if withheld.kind == "project_write":
        return ProjectWrite(withheld, adapter, parameters)
    return Freeze(withheld, parameters)


def unit_vectors(withheld: Withheld, width: int, layers: Sequence[int], count: int) -> list[Tensor]:
    """Return the unit direction of each layer, in float64.

    Raises:
        ConfigError: The direction has another width, or there are not as many as layers.
    """
    table = withheld.vectors
    if table is None:
        table = drawn_direction(withheld.source, width)
    if table.shape[1] != width or table.shape[0] not in (1, count):
        raise ConfigError(
            f"the direction has the shape {table.shape}, but the model has {count} layers of "
            f"width {width}",
            fix=f"give one vector of {width} numbers, or one per layer",
        )
    chosen = np.repeat(table, count, axis=0) if table.shape[0] == 1 else table
    return [torch.from_numpy(np.ascontiguousarray(chosen[i])) for i in layers]


def _projection(vector: Tensor) -> Callable[[nn.Module, Any, Any], Any]:
    """Return a hook that takes one direction out of what a block gives."""

    def project(_: nn.Module, given: Any, output: Any) -> Any:
        stream = stream_of(output)
        v = vector.to(device=stream.device, dtype=torch.float32)
        wide = stream.float()
        return with_stream(output, (wide - (wide @ v)[..., None] * v).to(stream.dtype))

    return project
