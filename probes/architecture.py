"""Where each model family keeps its blocks: our short table, and TransformerLens' long one."""

from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True, slots=True)
class Components:
    """The modules found in one model; lists are empty where a part is not found."""

    blocks: list[nn.Module]
    attention: list[nn.Module]
    mlp_out: list[nn.Module]
    final_norm: nn.Module
    unembed: nn.Module


@dataclass(frozen=True, slots=True)
class _Family:
    """Paths of one family; those of a block are relative to it."""

    blocks: str
    attention: str
    mlp_out: str
    final_norm: str


# Families in one shape share a line: Llama, Mistral, Qwen2/3, Gemma 1-3, OLMo/2, SmolLM3,
# Phi-3, Granite, Cohere; GPT-2 and BigCode; GPT-NeoX; GPT-Neo.
_FAMILIES = (
    _Family("model.layers", "self_attn", "mlp.down_proj", "model.norm"),
    _Family("transformer.h", "attn", "mlp.c_proj", "transformer.ln_f"),
    _Family("gpt_neox.layers", "attention", "mlp.dense_4h_to_h", "gpt_neox.final_layer_norm"),
    _Family("transformer.h", "attn.attention", "mlp.c_proj", "transformer.ln_f"),
)


def table_components(model: nn.Module) -> Components | None:
    """Look a model up in our own table; None when no line fits every block."""
    for family in _FAMILIES:
        blocks = _get(model, family.blocks)
        norm = _get(model, family.final_norm)
        unembed = _output_embeddings(model)
        if not isinstance(blocks, nn.ModuleList) or norm is None or unembed is None:
            continue
        attention = [_get(block, family.attention) for block in blocks]
        mlp_out = [_get(block, family.mlp_out) for block in blocks]
        known = [module for module in attention + mlp_out if module is not None]
        nested = any(_get(module, "attention") is not None for module in attention if module)
        if len(known) == 2 * len(blocks) and not nested:
            return Components(
                list(blocks), known[: len(blocks)], known[len(blocks) :], norm, unembed
            )
    return None


def adapter_components(model: nn.Module) -> Components | None:
    """Ask TransformerLens' architecture adapters; None when they do not know the model."""
    adapter = _adapter(model)
    if adapter is None:
        return None

    def component(name: str) -> nn.Module | None:
        try:
            found = adapter.get_component(model, name)
        except (AttributeError, ValueError, KeyError, IndexError, TypeError):
            return None
        return found if isinstance(found, nn.Module) else None

    blocks, norm = component("blocks"), component("ln_final")
    unembed = _output_embeddings(model) or component("unembed")
    if not isinstance(blocks, nn.ModuleList) or norm is None or unembed is None:
        return None

    def each(name: str) -> list[nn.Module]:
        found = [component(f"blocks.{i}.{name}") for i in range(len(blocks))]
        known = [module for module in found if module is not None]
        return known if len(known) == len(blocks) else []

    return Components(list(blocks), each("attn"), each("mlp.out"), norm, unembed)


def _adapter(model: nn.Module) -> Any:
    """Select an adapter without booting; TransformerLens is imported only here and in bridge."""
    from transformer_lens.factories.architecture_adapter_factory import (
        ArchitectureAdapterFactory,
    )
    from transformer_lens.model_bridge.sources import build_bridge_config_from_hf

    try:
        # In memory config.architectures is None, so the class name is given.
        config = build_bridge_config_from_hf(
            model.config, type(model).__name__, "local", getattr(model, "dtype", None)
        )
        return ArchitectureAdapterFactory.select_architecture_adapter(config)
    except (ValueError, AttributeError, KeyError, ImportError, TypeError):
        return None


def _output_embeddings(model: nn.Module) -> nn.Module | None:
    getter = getattr(model, "get_output_embeddings", None)
    found = getter() if getter is not None else None
    return found if isinstance(found, nn.Module) else None


def _get(module: nn.Module | None, path: str) -> nn.Module | None:
    for name in path.split("."):
        module = getattr(module, name, None)
        if module is None:
            return None
    return module if isinstance(module, nn.Module) else None
