"""Every place of a model that can be read, by TransformerLens name, and what is missing."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from critical_phase.probes.collectors import COLLECTORS
from critical_phase.probes.sites import Sites, resolve

_STREAM = ("residual", "residual_sparsity", "margin_gradient")
_READERS = {
    "hook_resid_pre": _STREAM,
    "hook_resid_mid": ("residual",),
    "hook_resid_post": _STREAM,
    "attn.hook_pattern": ("attention",),
    "attn.hook_z": ("head_output", "head_importance"),
    "mlp.hook_post": ("sparsity",),
}


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
    """The collectors that read it, comma-separated."""
    shape: str
    """Axes of one value."""


def sites(model: nn.Module, found: Sites | None = None) -> tuple[Site, ...]:
    """List the places of a model that the collectors read, by TransformerLens name.

    Args:
        model: A causal language model; its weights may be on the meta device.
        found: Its sites, where they were resolved (and proved) already.

    Raises:
        ConfigError: The architecture is unknown.
    """
    found = resolve(model) if found is None else found
    return tuple(site for i in range(found.layers) for site in _of_block(model, found, i))


def _of_block(model: nn.Module, found: Sites, i: int) -> Iterator[Site]:
    config = model.config.get_text_config()  # type: ignore[union-attr,operator]
    stream = f"line, token, d_model={config.hidden_size}"
    heads = getattr(config, "num_attention_heads", 0)  # state-space models have none
    pattern = f"line, attention_head={heads}, token, token"
    after = found.paths.get(f"blocks.{i + 1}", found.paths["ln_final"])
    yield _site(i, "hook_resid_pre", found.paths[f"blocks.{i}"], "input", stream)
    if found.attention:
        path = found.paths[f"blocks.{i}.attn"]
        yield _site(i, "attn.hook_pattern", path, "inside", pattern)
    if found.attention_out:
        path, width = found.paths[f"blocks.{i}.attn.o"], _inputs(found.attention_out[i])
        values = f"line, token, attention_head={heads}, d_head"
        shape = values if width is None else f"{values}={width // heads}"
        yield _site(i, "attn.hook_z", path, "input", shape)
    if found.mid:
        yield _site(i, "hook_resid_mid", found.paths[f"blocks.{i}.ln2"], "input", stream)
    if found.mlp_out:
        path = found.paths[f"blocks.{i}.mlp.out"]
        yield _site(i, "mlp.hook_post", path, "input", f"line, token, {_width(found.mlp_out[i])}")
    yield _site(i, "hook_resid_post", after, "input", stream)


def _site(block: int, name: str, module: str, side: str, shape: str) -> Site:
    readers = ", ".join(reader for reader in _READERS[name] if reader in COLLECTORS)
    return Site(f"blocks.{block}.{name}", module, side, readers, f"[{shape}]")


def _width(module: nn.Module) -> str:
    """Name the width of what goes into the last map of an MLP."""
    width = _inputs(module)
    return "d_mlp" if width is None else f"d_mlp={width}"


def _inputs(module: nn.Module) -> int | None:
    """Return the width of what goes into a linear map; GPT-2's are stored the other way round."""
    weight = getattr(module, "weight", None)
    if weight is None:
        return None
    return int(weight.shape[0 if type(module).__name__ == "Conv1D" else 1])
