"""Several models in one forward pass: the base, and the base with updates, each in its own lines.

One set of base weights serves all. Lines are laid out model by model, and every adapted module
adds scaling * B @ A @ x to the lines of the model that has it. Nothing is merged, so any type of
weights will do, and one cache of keys and values holds all models.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from critical_phase.errors import CheckpointError
from critical_phase.probes.hooks import Hook, Hooks
from critical_phase.probes.interventions.linear_module import linear_module
from critical_phase.probes.interventions.sources import Update, as_tensors

_Factors = tuple[np.ndarray, np.ndarray, float]
"""An update whose sizes differ from model to model."""
Updates = Mapping[str, Update]
"""B, A and the scaling by the base's name of a module; empty for the base itself."""


class Lines:
    """Models that share a base; the lines of model m of M are the m-th of M equal parts."""

    def __init__(self, model: Any, models: Mapping[str, Updates]) -> None:
        """Bring the factors to the model.

        Args:
            model: The base, without any adapter.
            models: What each model adds to the base, by name, in the order of its lines.

        Raises:
            CheckpointError: The base lacks a module, or it is no linear map of that size.
        """
        self.model = model
        self.names = tuple(models)
        adapted = dict.fromkeys(name for one in models.values() for name in one)
        self._modules = [
            _Module(model, name, [one.get(name) for one in models.values()]) for name in adapted
        ]

    def attached(self) -> Hooks:
        """Hang the updates on the model for the length of a block."""
        return Hooks([hook for module in self._modules for hook in module.hooks])

    def repeated(self, x: Tensor) -> Tensor:
        """Give every model the same lines."""
        return x.repeat(len(self.names), *[1] * (x.dim() - 1))

    def split(self, x: Tensor) -> dict[str, Tensor]:
        """Take what every model gave apart again."""
        return dict(zip(self.names, x.chunk(len(self.names)), strict=True))


class _Module:
    """One adapted module, with the factors of every model that changes it."""

    def __init__(self, model: Any, name: str, updates: Sequence[_Factors | None]) -> None:
        self._module, self._name = linear_module(model, name), name
        self._x = torch.empty(0)
        rows, columns = _size(self._module)
        self._parts: list[tuple[Tensor, ...] | None] = []
        for update in updates:
            if update is None:
                self._parts.append(None)
                continue
            b, a, scaling = update
            if (b.shape[0], a.shape[1]) != (rows, columns):
                raise CheckpointError(
                    f"the update of {name} is {(b.shape[0], a.shape[1])}, the weight "
                    f"{(rows, columns)}",
                    fix="give the model that the adapter was trained on",
                )
            self._parts.append(self._factors(a.T, scaling * b.T))

    def _factors(self, *factors: np.ndarray) -> tuple[Tensor, ...]:
        """Keep factors as saved: beside a base in a coarse type the update stays in float32."""
        weight = self._module.weight
        like = torch.empty(
            0, device=weight.device, dtype=torch.promote_types(weight.dtype, torch.float32)
        )
        return as_tensors(factors, like)

    @property
    def hooks(self) -> tuple[Hook, Hook]:
        """What hangs on the module."""
        return Hook(self._module, "input", self._keep), Hook(self._module, "output", self._add)

    def _keep(self, x: Tensor) -> None:
        if len(x) % len(self._parts):
            raise CheckpointError(
                f"{self._name} does not get the lines of {len(self._parts)} models, but {len(x)}",
                fix="models that send tokens to experts cannot be decoded from side by side",
            )
        self._x = x

    def _add(self, y: Tensor) -> Tensor:
        """Add the updates; lines that a family flattens to tokens stay in the same order."""
        parts = zip(self._parts, self._x.chunk(len(self._parts)), strict=True)
        made = [None if p is None else x.to(p[0].dtype) @ p[0] @ p[1] for p, x in parts]
        self._x = torch.empty(0)
        pieces = zip(y.chunk(len(self._parts)), made, strict=True)
        both = [piece if new is None else (piece + new).to(y.dtype) for piece, new in pieces]
        return torch.cat(both)


def _size(module: Any) -> tuple[int, int]:
    first, second = module.weight.shape
    return (second, first) if type(module).__name__ == "Conv1D" else (first, second)
