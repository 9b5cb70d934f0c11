"""Changes to activations while a batch runs through the model, and their removal."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from critical_phase.errors import ConfigError
from critical_phase.probes.batches import Batch
from critical_phase.probes.hooks import Hook, Hooks
from critical_phase.probes.sites import Sites

SITES = ("resid", "attn", "mlp")
"""`resid` l: the stream after block l (-1: the embedding); `attn`, `mlp` l: what block l's
attention, or the last map of its MLP, adds to it."""


@runtime_checkable
class Edit(Protocol):
    """What one intervention does to activations; weights are changed by the cell's state."""

    def prepare(self, bench: Any, batch: Batch) -> None:
        """Run what is needed before this batch, such as the donor; see `Bench.under`."""
        ...

    def attached(self, bench: Any) -> AbstractContextManager[object]:
        """Hang on the model for the length of the batch's own pass."""
        ...


@dataclass(frozen=True, slots=True)
class Site:
    """One place of one block."""

    name: str
    """Of `SITES`."""
    layer: int


def has(sites: Sites, name: str) -> bool:
    """Tell whether a model has a kind of site: a mixture of experts has no last map of one MLP."""
    return name == "resid" or bool({"attn": sites.attention, "mlp": sites.mlp_out}.get(name))


def change(sites: Sites, wanted: Mapping[Site, Callable[[Tensor], Tensor | None]]) -> Hooks:
    """Hang functions on sites; the tensor that one returns takes the place of what was there.

    Raises:
        ConfigError: The model has no such site.
    """
    return Changes([_hook(sites, site, function) for site, function in wanted.items()])


def record(sites: Sites, wanted: Sequence[Site], into: dict[Site, Tensor]) -> Hooks:
    """Keep what the sites hold in the next pass."""

    def keep(site: Site) -> Callable[[Tensor], None]:
        return lambda x: into.__setitem__(site, x.detach())

    return change(sites, {site: keep(site) for site in wanted})


class Changes(Hooks):
    """Hooks of which those on outputs may return a tensor too."""

    def __init__(self, hooks: Sequence[Hook]) -> None:
        """Note the hooks; nothing is attached yet."""
        super().__init__([hook for hook in hooks if hook.side == "input"])
        self._outputs = tuple(hook for hook in hooks if hook.side == "output")

    def __enter__(self) -> "Changes":
        """Attach every hook."""
        super().__enter__()
        try:
            for hook in self._outputs:
                self._handles.append(hook.module.register_forward_hook(_after(hook)))
        except BaseException:
            self._remove()
            raise
        return self


def _after(hook: Hook) -> Callable[[nn.Module, Any, Any], Any]:
    def after(_: nn.Module, args: Any, output: Any) -> Any:
        several = isinstance(output, tuple)
        new = hook.function(output[0] if several else output)
        if new is None:
            return None
        return (new, *output[1:]) if several else new

    return after


def _hook(sites: Sites, site: Site, function: Callable[[Tensor], Tensor | None]) -> Hook:
    if site.name == "resid":
        chain = (*sites.blocks, sites.final_norm)
        if -1 <= site.layer < sites.layers:
            return Hook(chain[site.layer + 1], "input", function)
    modules = {"attn": sites.attention, "mlp": sites.mlp_out}.get(site.name, ())
    if 0 <= site.layer < len(modules):
        return Hook(modules[site.layer], "output", function)
    raise ConfigError(
        f"the model has no site {site.name!r} in layer {site.layer}",
        fix=f"choose from {', '.join(s for s in SITES if has(sites, s))} and layers up to"
        f" {sites.layers - 1}",
    )
