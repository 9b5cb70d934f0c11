"""A base model whose adapted modules hold any sum of saved updates, merged in place.

W = W0 + sum of factor * scaling * B @ A, from the untouched W0 each time, as one product of the
concatenated factors: nothing drifts, and going from one state to the next touches only the
modules that differ. So a graft costs a few small products beside its forward pass.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from critical_phase.errors import CheckpointError, ConfigError
from critical_phase.probes.interventions.linear_module import linear_module
from critical_phase.probes.interventions.sources import Sources, as_tensors
from critical_phase.probes.interventions.update import State, Terms

KEPT = 2
"""Merged weights of each module that are kept: going to and fro between two states is free."""


class Mixture:
    """Holds one state at a time; call and hook `model`."""

    def __init__(self, model: Any, sources: Sources, modules: Iterable[str]) -> None:
        """Note the weights; nothing is changed yet.

        Args:
            model: The base model itself, in float32 or float64, without any adapter.
            sources: Updates by name.
            modules: Those that states may name.

        Raises:
            ConfigError: The model is of a coarser type, in which small updates round away.
            CheckpointError: The base lacks a module, or it is no linear map of that size.
        """
        if model.dtype not in (torch.float32, torch.float64):
            raise ConfigError(
                f"interventions add updates to the weights, and the model is {model.dtype}",
                fix="load the model in float32",
            )
        self.model = model
        self.sources = sources
        self._weights = {name: _Weight(model, name) for name in modules}

    @torch.no_grad()
    def hold(self, state: State) -> None:
        """Let the model hold a state until another one is asked for.

        Raises:
            CheckpointError: The state names a module that was not noted.
        """
        if odd := sorted(set(state) - set(self._weights)):
            raise CheckpointError(f"the state names {odd[0]}, which is not among the modules")
        for name, weight in self._weights.items():
            weight.hold(state.get(name, ()), self.sources)

    @contextlib.contextmanager
    def holding(self, state: State) -> Iterator[None]:
        """Hold a state for a block, and go back to the one before, also when it raised."""
        before = {name: weight.terms for name, weight in self._weights.items()}
        try:
            self.hold(state)
            yield
        finally:
            self.hold(before)

    def release(self) -> None:
        """Give every module the base's own weights back and free the others."""
        for weight in self._weights.values():
            weight.release()


class _Weight:
    """One module's weight, its original and the merged ones that were held last."""

    def __init__(self, model: Any, name: str) -> None:
        self._module, self._name = linear_module(model, name), name
        self._original: Tensor = self._module.weight.data
        self._turned = type(self._module).__name__ == "Conv1D"
        self._kept: OrderedDict[Terms, Tensor] = OrderedDict()
        self.terms: Terms = ()

    def hold(self, terms: Terms, sources: Sources) -> None:
        if terms != self.terms:
            self._module.weight.data = self._merged(terms, sources) if terms else self._original
            self.terms = terms

    def release(self) -> None:
        self._module.weight.data = self._original
        self._kept.clear()
        self.terms = ()

    def _merged(self, terms: Terms, sources: Sources) -> Tensor:
        found = self._kept.pop(terms, None)
        if found is None:
            found = self._merge(terms, sources, self._room())
        self._kept[terms] = found  # last: what is held now is never the next to be given up
        return found

    def _room(self) -> Tensor:
        if len(self._kept) < KEPT:
            return torch.empty_like(self._original)
        return self._kept.popitem(last=False)[1]

    def _merge(self, terms: Terms, sources: Sources, into: Tensor) -> Tensor:
        if len(terms) == 1 and terms[0].part is None:  # the very sum that a collection makes
            b, a, scaling = sources.update(terms[0].source, self._name)
            size = terms[0].factor * scaling
        else:
            (b, a), size = sources.together(terms, self._name), 1.0
        one, other = (a.T, b.T) if self._turned else (b, a)
        self._check(b.shape[0], a.shape[1])
        torch.addmm(self._original, *as_tensors((one, other), self._original), alpha=size, out=into)
        return into

    def _check(self, rows: int, columns: int) -> None:
        size = (columns, rows) if self._turned else (rows, columns)
        if size != tuple(self._original.shape):
            raise CheckpointError(
                f"the update of {self._name} is {size}, the weight {tuple(self._original.shape)}",
                fix="give the model that the adapter was trained on",
            )
