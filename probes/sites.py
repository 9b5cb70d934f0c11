"""Find the places of a model by their TransformerLens names, whatever its modules are called.

Order: a small table of common families, then TransformerLens' architecture adapters
(read without booting a bridge, so the model is left untouched). A forward pass decides
whether what was found is right (`check_sites`), not the table.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from critical_phase.errors import CheckpointError, ConfigError
from critical_phase.probes.architecture import Components, adapter_components, table_components
from critical_phase.probes.hooks import Hook, Hooks


@dataclass(frozen=True, slots=True)
class Sites:
    """The modules of a decoder that instruments hang on."""

    blocks: tuple[nn.Module, ...]
    """Transformer blocks; the input of block i is `blocks.i.hook_resid_pre`."""
    attention: tuple[nn.Module, ...]
    """One attention module per block; empty where the family hides it."""
    mlp_out: tuple[nn.Module, ...]
    """Last linear map of each MLP; its input is `blocks.i.mlp.hook_post`. May be empty."""
    final_norm: nn.Module
    """Its input is the residual stream after the last block."""
    unembed: nn.Module
    """Turns hidden states into logits."""
    paths: dict[str, str]
    """Canonical name -> path of the module in the model."""
    source: str
    """`table` or `transformer_lens`: who knew the names."""

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)


@dataclass(frozen=True, slots=True)
class Site:
    """One place that can be read, for listings."""

    name: str
    """TransformerLens name."""
    module: str
    """Path of the module in the model."""
    side: str
    """Which side of the module is read: input, output, or inside (the attention weights)."""
    collector: str
    """The collector that reads it."""


def resolve(model: nn.Module) -> Sites:
    """Find blocks, attention, MLP and final norm of a causal language model.

    Args:
        model: The Hugging Face model itself, not a PEFT wrapper around it.

    Raises:
        ConfigError: The architecture is unknown; the message shows the module tree.
    """
    found, source = table_components(model), "table"
    if found is None:
        found, source = adapter_components(model), "transformer_lens"
    if found is None:
        raise ConfigError(
            f"cannot find the layers of a {type(model).__name__}; its modules are:\n"
            + _tree(model),
            fix="use a decoder-only model of a family that TransformerLens knows",
        )
    return _sites(model, found, source)


def sites(model: nn.Module) -> tuple[Site, ...]:
    """List the places of a model that the collectors read, by TransformerLens name.

    Raises:
        ConfigError: The architecture is unknown.
    """
    found = resolve(model)
    listed: list[Site] = []
    for i in range(found.layers):
        block = found.paths[f"blocks.{i}"]
        after = found.paths.get(f"blocks.{i + 1}", found.paths["ln_final"])
        listed.append(Site(f"blocks.{i}.hook_resid_pre", block, "input", "residual"))
        if found.attention:
            attention = found.paths[f"blocks.{i}.attn"]
            listed.append(Site(f"blocks.{i}.attn.hook_pattern", attention, "inside", "attention"))
        if found.mlp_out:
            mlp = found.paths[f"blocks.{i}.mlp.out"]
            listed.append(Site(f"blocks.{i}.mlp.hook_post", mlp, "input", "sparsity"))
        listed.append(Site(f"blocks.{i}.hook_resid_post", after, "input", "residual"))
    return tuple(listed)


@torch.no_grad()
def check_sites(model: nn.Module, found: Sites, inputs: dict[str, Any]) -> None:
    """Prove on a real input that the sites are what their names say.

    The input of block i must equal `hidden_states[i]`, and the final norm of what is read
    after the last block must equal the last of them.

    Raises:
        CheckpointError: Some site holds other values.
    """
    read: dict[int, Tensor] = {}

    def keep(index: int) -> Hook:
        module = found.blocks[index] if index < found.layers else found.final_norm
        return Hook(module, "input", lambda x: read.__setitem__(index, x))

    normed: list[Tensor] = []
    hooks = [keep(i) for i in range(found.layers + 1)]
    hooks.append(Hook(found.final_norm, "output", lambda x: normed.append(x)))
    with Hooks(hooks):
        states = model(**inputs, output_hidden_states=True).hidden_states
    wrong = [i for i in range(found.layers) if not _same(read.get(i), states[i])]
    if wrong or len(states) != found.layers + 1 or not _same(normed[-1], states[-1]):
        raise CheckpointError(
            f"the sites of this {type(model).__name__} do not hold what their names say "
            f"(blocks {wrong or 'fine'}, {len(states)} hidden states for {found.layers} blocks)",
            fix="this architecture is not supported; please report it with its config.json",
        )


def _same(ours: Tensor | None, theirs: Tensor) -> bool:
    return ours is not None and ours.shape == theirs.shape and bool(torch.equal(ours, theirs))


def _sites(model: nn.Module, found: Components, source: str) -> Sites:
    names = {id(module): name for name, module in model.named_modules()}
    paths = {"ln_final": names[id(found.final_norm)], "unembed": names[id(found.unembed)]}
    for kind, modules in (
        ("blocks.{}", found.blocks),
        ("blocks.{}.attn", found.attention),
        ("blocks.{}.mlp.out", found.mlp_out),
    ):
        paths |= {kind.format(i): names[id(module)] for i, module in enumerate(modules)}
    return Sites(
        blocks=tuple(found.blocks),
        attention=tuple(found.attention),
        mlp_out=tuple(found.mlp_out),
        final_norm=found.final_norm,
        unembed=found.unembed,
        paths=paths,
        source=source,
    )


def _tree(model: nn.Module, depth: int = 3) -> str:
    lines = [
        f"  {name}: {type(module).__name__}"
        for name, module in model.named_modules()
        if name and name.count(".") < depth
    ]
    return "\n".join(lines[:40])
