"""TransformerLens' bridge around a copy of a model that shares every weight with it.

The bridge replaces modules in place, so it never gets the model itself. The copy shares
parameters and adapter layers: what is put into the model is in the copy at once. Families
with fused projections are the exception: the bridge splits those weights into its own.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn

from critical_phase.errors import ConfigError
from critical_phase.probes.hooks import Hook, Hooks
from critical_phase.probes.sites import Sites

FIX = "collect with --backend hooks, which reads every family as it is"
_POINTS = {
    "attention": "attn.hook_pattern",
    "mid": "hook_resid_mid",
    "mlp_out": "mlp.hook_post",
}
_ADAPTER = (BaseTunerLayer, AuxiliaryTrainingWrapper)
_REFUSALS = (ValueError, RuntimeError, KeyError, IndexError, TypeError, AttributeError, ImportError)
"""What booting raises on families that TransformerLens does not know or cannot split."""


@dataclass(frozen=True, eq=False)
class Twin:
    """A bridged copy of a model."""

    model: nn.Module
    """Called as the model is called."""
    points: dict[str, nn.Module]
    """TransformerLens name -> hook point; what passes through it is the value of that name."""
    splits: bool
    """Whether the bridge holds weights of its own, which later changes do not reach."""

    @classmethod
    def boot(cls, model: Any) -> "Twin":
        """Copy a model's modules, share its weights, and put a bridge around the copy.

        Raises:
            ConfigError: TransformerLens cannot build a bridge around this family.
        """
        from transformer_lens.model_bridge.sources import build_bridge_from_module

        shared: dict[int, Any] = {id(parameter): parameter for parameter in model.parameters()}
        shared |= {id(layer): layer for layer in adapter_layers(model).values()}
        twin = copy.deepcopy(model, shared)
        try:
            if twin.config._attn_implementation != "eager":  # no other way gives the pattern
                twin.set_attn_implementation("eager")
            bridge = build_bridge_from_module(
                twin, type(model).__name__, hf_config=copy.deepcopy(model.config)
            )
        except _REFUSALS as error:
            raise ConfigError(
                f"TransformerLens cannot put a bridge around a {type(model).__name__}: "
                f"{type(error).__name__}: {error}".splitlines()[0],
                fix=FIX,
            ) from error
        splits = any(id(parameter) not in shared for parameter in bridge.parameters())
        # The bridge object goes: its parts live in the copy, and hooks hang on its points.
        return cls(twin.eval(), dict(bridge.hook_dict), splits)

    def sites(self, found: Sites, wanted: Sequence[str]) -> Sites:
        """Return the hook points in place of a model's own modules.

        Args:
            found: Sites of the model itself.
            wanted: Parts that will be read: `attention`, `mid`, `mlp_out`.

        Raises:
            ConfigError: The bridge has no point of that name in this family.
        """
        parts = {
            part: self._each(name, found.layers) if part in wanted else ()
            for part, name in _POINTS.items()
        }
        return replace(
            found,
            blocks=self._each("hook_resid_pre", found.layers),
            final_norm=self._point(f"blocks.{found.layers - 1}.hook_resid_post"),
            unembed=self.model.get_submodule(found.paths["unembed"]),
            attention=parts["attention"],
            mid=parts["mid"],
            mlp_out=parts["mlp_out"],
        )

    def _each(self, name: str, layers: int) -> tuple[nn.Module, ...]:
        return tuple(self._point(f"blocks.{i}.{name}") for i in range(layers))

    def _point(self, name: str) -> nn.Module:
        if name not in self.points:
            raise ConfigError(f"the bridge of this family has no {name}", fix=FIX)
        return self.points[name]


def adapter_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the outermost adapter layers of a model by path."""
    return dict(_outermost(model, ""))


def _outermost(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        where = f"{path}.{name}".lstrip(".")
        if isinstance(child, _ADAPTER):
            yield where, child
        else:
            yield from _outermost(child, where)


@torch.no_grad()
def lost_adapters(model: nn.Module, twin: Twin, inputs: dict[str, Any]) -> list[str]:
    """List the adapter layers that the model runs and its bridge leaves out.

    Args:
        model: The model itself, an adapter in it.
        twin: Its bridge.
        inputs: Of one forward pass.
    """
    layers = adapter_layers(model)
    called = []
    for one in (model, twin.model):
        names: set[str] = set()
        hooks = [Hook(layer, "output", _note(names, name)) for name, layer in layers.items()]
        with Hooks(hooks):
            one(**inputs)
        called.append(names)
    return sorted(called[0] - called[1])


def _note(names: set[str], name: str) -> Any:
    return lambda _: names.add(name)
