"""Squared norms of single questions' gradients with respect to whole weights, from one backward.

An adapted module maps x_t to (W + scaling B A) x_t at every token t, so the gradient of one
question with respect to the merged weight is sum_t g_t x_t^T, with g_t the gradient at the output.
Its squared Frobenius norm is sum_tt' (g_t . g_t')(x_t . x_t'): no gradient is ever formed.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from critical_phase.errors import CheckpointError
from critical_phase.probes.hooks import Hook, Hooks


def adapted_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that an adapter changes, by their path in the model.

    Raises:
        CheckpointError: There is none, or one is no linear map of a token's vector.
    """
    found = {name: m for name, m in model.named_modules() if isinstance(m, LoraLayer)}
    if not found:
        raise CheckpointError(
            "no module of this model has an adapter", fix="use a checkpoint of a LoRA"
        )
    for name, module in found.items():
        kind = type(module.get_base_layer()).__name__
        if not (kind.startswith("Linear") or kind == "Conv1D"):
            raise CheckpointError(
                f"{name} is a {kind}, and gradients of weights are read from linear maps only",
                fix="use adapters of linear modules",
            )
    return found


class WeightGradients:
    """Keeps what modules get and give in a forward pass; hooks live as long as a block."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        """Note the modules; nothing is attached yet."""
        self._names = tuple(modules)
        self._given: dict[str, list[Tensor]] = {name: [] for name in modules}
        self._got: dict[str, list[Tensor]] = {name: [] for name in modules}
        reads = [
            (name, module, side) for name, module in modules.items() for side in ("input", "output")
        ]
        self._hooks = [
            Hook(module, side, lambda x, n=name, s=side: self._read(n, s, x))  # type: ignore[misc,arg-type]
            for name, module, side in reads
        ]
        self._likeness: dict[str, Tensor] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Modules, in the order of the model."""
        return self._names

    def attached(self) -> Hooks:
        """Hang on all modules for the length of a block, and begin anew."""
        for kept in (*self._given.values(), *self._got.values()):
            kept.clear()
        self._likeness.clear()
        return Hooks(self._hooks)

    def squared_norms(
        self, objective: Float[Tensor, ""], examples: int, *, more: bool
    ) -> Float[Tensor, "module example"]:
        """Differentiate a sum over the examples of the last forward pass.

        Args:
            objective: A sum in which every term depends on one example alone.
            examples: Rows of that pass.
            more: Whether the pass is differentiated again.

        Raises:
            CheckpointError: A module did not see one row of tokens for every example.
        """
        outputs = [out for name in self._names for out in self._got[name]]
        found = list(torch.autograd.grad(objective, outputs, retain_graph=more, allow_unused=True))
        norms = []
        for name in self._names:
            x = _joined(self._given[name], name, examples)
            parts = [found.pop(0) for _ in self._got[name]]
            g = [torch.zeros_like(o) if p is None else p
                 for p, o in zip(parts, self._got[name], strict=True)]  # fmt: skip
            if name not in self._likeness:  # the same for every objective of this pass
                self._likeness[name] = _products(x)
            norms.append((self._likeness[name] * _products(_joined(g, name, examples))).sum((1, 2)))
        return torch.stack(norms)

    def _read(self, name: str, side: str, x: Tensor) -> Tensor | None:
        if side == "input":
            self._given[name].append(x.detach())
            return None
        if not x.requires_grad:  # nothing before it has a gradient: the graph begins here
            x = x.detach().requires_grad_(True)
        self._got[name].append(x)
        return x


def _products(x: Float[Tensor, "example token d"]) -> Float[Tensor, "example token token"]:
    """Return all inner products of one row's vectors, in float64: they are summed with signs."""
    wide = x.double()
    return wide @ wide.mT


def _joined(parts: list[Tensor], name: str, examples: int) -> Float[Tensor, "example token d"]:
    """Put the calls of one pass side by side."""
    if not parts or any(part.ndim != 3 or len(part) != examples for part in parts):
        shapes = [tuple(part.shape) for part in parts]
        raise CheckpointError(
            f"{name} should see one row of tokens for each of {examples} questions, saw {shapes}",
            fix="gradients of single questions cannot be told apart here: leave this module out",
        )
    return torch.cat(parts, dim=1)
