"""Prove that what enters an attention's output projection is its heads side by side.

`blocks.i.attn.hook_z` is a sum of values, weighted by each head's own attention. So it is,
head by head and query by query, linear in that head's weights p and in no other's:
z . u = sum_j p_j d(z . u)/dp_j for any vector u. Heads in another order, heads that are
interleaved, or a norm in between break that, whatever a family calls its modules.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from critical_phase.probes.attention_row import implementation
from critical_phase.probes.frozen import frozen
from critical_phase.probes.hooks import Hook, Hooks
from critical_phase.probes.mid_point import is_added
from critical_phase.probes.sites import Sites

HOOK_NAME = "blocks.{block}.attn.hook_z"
HEAD_READERS = {"head_output", "head_importance"}
"""Collectors that read it."""
_LIMITS = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Largest gap over the largest value."""
_REFUSALS = (ValueError, RuntimeError, TypeError, KeyError, AttributeError)
"""What families raise that cannot work attention out step by step."""


def prove_heads(model: Any, found: Sites, inputs: dict[str, Any], heads: int) -> Sites:
    """Prove `hook_z` on a real input, under the model's own step-by-step attention.

    Args:
        model: The causal language model itself.
        found: Its sites, proved by `check_sites`.
        inputs: One short row.
        heads: Attention heads of each block.

    Returns:
        The sites; where the proof fails without `attention_out`, the reason in `missing`.
    """
    if not found.attention_out:
        return found
    fault = _fault(model, found, inputs, heads)
    if not fault:
        return found
    return replace(found, attention_out=(), missing={**found.missing, HOOK_NAME: fault})


def by_head(z: Tensor, heads: int) -> Tensor:
    """Cut the last axis into heads: [..., attention_head, d_head]."""
    return z.reshape(*z.shape[:-1], heads, -1)


def _fault(model: Any, found: Sites, inputs: dict[str, Any], heads: int) -> str:
    """Say why the site is not what its name says; empty where it is."""
    if not found.attention:
        return "attention is not known in every block"
    watches = [_Watch(*parts) for parts in zip(found.blocks, found.attention, strict=True)]
    start = Hook(found.blocks[0], "input", lambda x: x.detach().requires_grad_(True))
    hooks = [start]
    for watch, module in zip(watches, found.attention_out, strict=True):
        hooks += watch.hooks(module)
    try:
        with torch.enable_grad(), frozen(model), implementation(model, "eager"), Hooks(hooks):
            with _Weights(watches):
                model(**inputs)
            for i, watch in enumerate(watches):
                if said := watch.fault(heads):
                    return f"block {i}: {said}"
    except _REFUSALS as error:
        first = (str(error).strip().splitlines() or [""])[0]
        return f"working attention out step by step raises {type(error).__name__}: {first}"
    return ""


class _Watch:
    """Keeps what one attention, and its output projection, read and give in one pass."""

    def __init__(self, block: nn.Module, attention: nn.Module) -> None:
        self.attention = attention
        self.whole: Any = None
        self._block = block
        self._seen: dict[str, Tensor] = {}

    def hooks(self, projection: nn.Module) -> list[Hook]:
        """Hang on the block and the projection."""
        return [
            Hook(self._block, "input", lambda x: self._seen.update(stream=x)),
            Hook(projection, "input", lambda x: self._seen.update(z=x)),
            Hook(projection, "output", lambda x: self._seen.update(made=x)),
        ]

    def fault(self, heads: int) -> str:
        """Say what is wrong with this block; empty where nothing is."""
        if lost := {"stream", "z", "made"} - set(self._seen):
            return f"nothing was seen of its {sorted(lost)[0]}"
        z, made = self._seen["z"], self._seen["made"]
        outputs = self.whole if isinstance(self.whole, tuple | list) else (self.whole,)
        given, weights = outputs[0], outputs[1] if len(outputs) > 1 else None
        if not _gives(given, made, self._seen["stream"]):
            return "the attention does not give what its output projection makes"
        if not isinstance(weights, Tensor) or weights.dim() != 4:
            return "the attention gives no weights"
        if weights.shape[1] != heads or z.shape[-1] % heads:
            return f"{z.shape[-1]} values and {weights.shape[1]} sets of weights for {heads} heads"
        return _not_weighted(z.reshape(weights.shape[0], weights.shape[2], -1), weights, heads)


def _gives(given: Any, made: Tensor, stream: Tensor) -> bool:
    """Tell whether an attention gives what its projection makes, or adds it to the stream."""
    if not isinstance(given, Tensor) or given.numel() != made.numel():
        return False
    given, made = given.detach().reshape(made.shape), made.detach()
    if torch.equal(given, made):
        return True
    return stream.numel() == made.numel() and is_added(
        stream.detach().reshape(made.shape), made, given
    )


def _not_weighted(z: Tensor, weights: Tensor, heads: int) -> str:
    """Compare z with what is linear in each head's own weights."""
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(z.shape[-1], generator=generator).to(z)
    value = by_head(z * u, heads).sum(-1).transpose(1, 2)
    (slope,) = torch.autograd.grad(value.sum(), weights, retain_graph=True, allow_unused=True)
    if slope is None:
        return "what its weights show is not what its output is made of"
    linear = (weights.detach().double() * slope.double()).sum(-1)
    value = value.detach().double()
    largest = value.abs().max().clamp(min=1e-300)  # heads that give nothing are in any order
    gap = float((linear - value).abs().max() / largest)
    if gap <= _LIMITS.get(z.dtype, 1e-4):
        return ""
    return f"its heads are not sums of their own weighted values (by {gap:.1e})"


class _Weights(Hooks):
    """Keeps the whole output of attention modules, whose second part is the weights."""

    def __init__(self, watches: list[_Watch]) -> None:
        super().__init__([])
        self._watches = watches

    def __enter__(self) -> "_Weights":
        for watch in self._watches:

            def after(_: nn.Module, args: object, output: object, at: _Watch = watch) -> None:
                at.whole = output

            self._handles.append(watch.attention.register_forward_hook(after))
        return self
