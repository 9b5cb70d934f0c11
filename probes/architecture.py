"""Where each model family keeps its blocks: our short table, and TransformerLens' long one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

Each = tuple[nn.Module | None, ...]
"""One module per block; None where a block has no such part."""


@dataclass(frozen=True, slots=True)
class Components:
    """The modules found in one model."""

    blocks: tuple[nn.Module, ...]
    attention: Each
    attention_out: Each
    """The output projection of each attention: its input is what the heads give."""
    mid: Each
    """What reads the residual stream between attention and MLP."""
    mlp: Each
    mlp_out: Each
    final_norm: nn.Module
    unembed: nn.Module

    @property
    def whole(self) -> bool:
        """Whether every block has its attention and the last map of its MLP."""
        return None not in (*self.attention, *self.mlp_out)


# Families in one shape share a line: Llama, Mistral, Qwen2/3, Gemma 1-3, OLMo/2, SmolLM3,
# Phi-3, Granite, Cohere; GPT-2, BigCode and GPT-Neo; GPT-NeoX; the text part of
# vision-language models; OPT.
_STEMS = (
    ("model.layers", "model.norm"),
    ("transformer.h", "transformer.ln_f"),
    ("gpt_neox.layers", "gpt_neox.final_layer_norm"),
    ("model.language_model.layers", "model.language_model.norm"),
    ("model.decoder.layers", "model.decoder.final_layer_norm"),
)
# Of a block, the first that is there: GPT-Neo keeps its attention inside `attn`.
_ATTENTION = ("self_attn", "attn.attention", "attn", "attention")
# Of an attention: Llama and most others; OPT and GPT-Neo; GPT-2; GPT-NeoX and Phi.
_ATTENTION_OUT = ("o_proj", "out_proj", "c_proj", "dense", "wo")
_MLP = ("mlp", "feed_forward")
_MLP_OUT = ("mlp.down_proj", "mlp.c_proj", "mlp.dense_4h_to_h", "fc2")
# What reads the stream after attention. Gemma 2's post_attention_layernorm is applied to
# the attention's output instead, so its name for this place comes first.
_MID = (
    "pre_feedforward_layernorm",
    "pre_mlp_layernorm",
    "pre_ff_layernorm",
    "feedforward_layernorm",
    "post_attention_layernorm",
    "ln_2",
    "ffn_norm",
    "norm_2",
    "final_layer_norm",
)


def table_components(model: nn.Module, *, partly: bool = False) -> Components | None:
    """Look a model up in our own table; None when no line fits it.

    Args:
        model: A causal language model.
        partly: Take a model, too, whose blocks lack an attention or the last map of an MLP.
    """
    for blocks_path, norm_path in _STEMS:
        blocks, norm = get_module(model, blocks_path), get_module(model, norm_path)
        unembed = output_embeddings(model)
        if not isinstance(blocks, nn.ModuleList) or norm is None or unembed is None:
            continue
        attention = _each(blocks, _ATTENTION)
        found = Components(
            blocks=tuple(blocks),
            attention=attention,
            attention_out=_outs(attention),
            mid=tuple(map(_mid, blocks)),
            mlp=_each(blocks, _MLP),
            mlp_out=_each(blocks, _MLP_OUT),
            final_norm=norm,
            unembed=unembed,
        )
        if found.blocks and (found.whole or partly):
            return found
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

    blocks, unembed = component("blocks"), output_embeddings(model) or component("unembed")
    norm = component("ln_final") or unembed  # OpenAI-GPT has none; the gate then says so
    if not isinstance(blocks, nn.ModuleList) or norm is None or unembed is None:
        return None
    each = _of_blocks(component, blocks)
    mids = zip(map(_mid, blocks), each("ln2"), strict=True)
    outs = zip(each("mlp.out"), _each(blocks, _MLP_OUT), strict=True)
    attention = each("attn")
    projections = zip(each("attn.o"), _outs(attention), strict=True)
    return Components(
        blocks=tuple(blocks),
        attention=attention,
        attention_out=tuple(theirs or ours for theirs, ours in projections),
        mid=tuple(ours or theirs for ours, theirs in mids),
        mlp=each("mlp"),
        mlp_out=tuple(theirs or ours for theirs, ours in outs),
        final_norm=norm,
        unembed=unembed,
    )


def get_module(module: nn.Module | None, path: str) -> nn.Module | None:
    """Follow a dotted path; None where it leads to no module."""
    for name in path.split("."):
        module = getattr(module, name, None)
        if module is None:
            return None
    return module if isinstance(module, nn.Module) else None


def output_embeddings(model: nn.Module) -> nn.Module | None:
    """Return the module that makes logits, as the model itself names it."""
    getter = getattr(model, "get_output_embeddings", None)
    found = getter() if getter is not None else None
    return found if isinstance(found, nn.Module) else None


def _of_blocks(
    component: Callable[[str], nn.Module | None], blocks: nn.ModuleList
) -> Callable[[str], Each]:
    """Look a part of every block up; a part that is the whole block (OPT's MLP) is none."""

    def each(name: str) -> Each:
        found = (component(f"blocks.{i}.{name}") for i in range(len(blocks)))
        return tuple(
            None if part is block else part for part, block in zip(found, blocks, strict=True)
        )

    return each


def _adapter(model: nn.Module) -> Any:
    """Select an adapter without booting: the model is left untouched."""
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


def _each(blocks: nn.ModuleList, names: tuple[str, ...]) -> Each:
    return tuple(_first(block, names) for block in blocks)


def _outs(attention: Each) -> Each:
    """Find the output projection inside each attention, by name."""
    return tuple(None if one is None else _first(one, _ATTENTION_OUT) for one in attention)


def _first(block: nn.Module, names: tuple[str, ...]) -> nn.Module | None:
    found = (get_module(block, name) for name in names)
    return next((module for module in found if module is not None), None)


def _mid(block: nn.Module) -> nn.Module | None:
    """Find what reads the stream after attention; where norms follow the parts, the MLP."""
    post_norm = get_module(block, "post_feedforward_layernorm") is not None
    if post_norm and get_module(block, "pre_feedforward_layernorm") is None:
        return get_module(block, "mlp")
    return _first(block, _MID)
