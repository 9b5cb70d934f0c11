"""Prove where a block's residual stream can be read between its attention and its MLP."""

from typing import Any

import torch
from torch import Tensor, nn

from critical_phase.probes.hooks import Hook, Hooks


class MidPoint:
    """Watches one block for one forward pass and judges a module that should read the middle.

    What the module reads must be the block's input plus what some part of the block gave
    before (times a constant, as some families scale), and the block's output must be that
    plus what some part gave after. A parallel block, whose MLP reads the block's own
    input, has no such place, and neither has a block that normalises its stream.
    """

    def __init__(self, block: nn.Module, module: nn.Module) -> None:
        """Note what to watch."""
        self.reason = "the module was not called"
        """Why the place is not the middle; empty when it is."""
        self._block, self._module = block, module
        self._outputs: list[Tensor] = []
        self._before = 0
        self._pre: Tensor | None = None
        self._mid: Tensor | None = None

    def attached(self) -> Hooks:
        """Hang on the block, the module and all parts of the block."""
        inside = [module for module in self._block.modules() if module is not self._block]
        return Hooks(
            [
                Hook(self._block, "input", self._enter),
                Hook(self._module, "input", self._read),
                *(Hook(module, "output", self._outputs.append) for module in inside),
                Hook(self._block, "output", self._judge),
            ]
        )

    def _enter(self, x: Tensor) -> None:
        self._pre, self._mid = x, None
        self._outputs.clear()

    def _read(self, x: Tensor) -> None:
        self._mid, self._before = x, len(self._outputs)

    def _judge(self, post: Tensor) -> None:
        pre, mid = self._pre, self._mid
        assert pre is not None
        if mid is not None:
            self.reason = self._fault(pre, mid, post)
        self._outputs.clear()

    def _fault(self, pre: Tensor, mid: Tensor, post: Tensor) -> str:
        if mid.numel() != pre.numel():
            return f"what it reads has the shape {tuple(mid.shape)}"
        mid = mid.reshape(pre.shape)  # OPT folds lines and tokens into one axis
        if torch.equal(mid, pre):
            return "attention and MLP read the same stream: the block is parallel"
        before, after = self._outputs[: self._before], self._outputs[self._before :]
        if not any(is_added(pre, part, mid) for part in before):
            return "what it reads is not the block's input plus a part's output"
        if not any(is_added(mid, part, post) for part in after):
            return "the block's output is not what it reads plus a part's output"
        return ""


def is_added(start: Tensor, part: Any, end: Tensor) -> bool:
    """Tell whether `end` is `start` plus a constant times `part`, up to rounding."""
    if not isinstance(part, Tensor) or part.numel() != start.numel():
        return False
    x, y = part.reshape(start.shape).float(), (end - start).float()
    size = float((x * x).sum())
    if size == 0.0:
        return False
    gap = (y - float((x * y).sum()) / size * x).abs().max()
    rounding = 8 * torch.finfo(start.dtype).eps * float(torch.maximum(start, end).abs().max())
    return bool(gap <= rounding)
