"""Find the places of a model by their TransformerLens names, whatever its modules are called.

Order: paths that the user gives, a small table of common families, TransformerLens'
architecture adapters (read without booting a bridge, so the model is left untouched). A
forward pass decides whether what was found is right (`check_sites`), not the table.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from critical_phase.errors import CheckpointError, ConfigError
from critical_phase.probes.architecture import Components, adapter_components, table_components
from critical_phase.probes.hooks import Hook, Hooks
from critical_phase.probes.mid_point import MidPoint
from critical_phase.probes.site_paths import user_components

_NAMES = {
    "attention": "blocks.{block}.attn.hook_pattern",
    "attention_out": "blocks.{block}.attn.hook_z",
    "mid": "blocks.{block}.hook_resid_mid",
    "mlp_out": "blocks.{block}.mlp.hook_post",
}
_WITHOUT = {
    "attention": "collect without attention",
    "attention_out": "collect without head_output and head_importance",
    "mid": "collect the residual stream before and after blocks alone",
    "mlp_out": "collect without sparsity",
}


@dataclass(frozen=True, slots=True)
class Sites:
    """The modules of a decoder that instruments hang on."""

    blocks: tuple[nn.Module, ...]
    """Transformer blocks; the input of block i is `blocks.i.hook_resid_pre`."""
    attention: tuple[nn.Module, ...]
    """One attention module per block; empty where some block has none."""
    mlp_out: tuple[nn.Module, ...]
    """Last linear map of each MLP; its input is `blocks.i.mlp.hook_post`. May be empty."""
    final_norm: nn.Module
    """Its input is the residual stream after the last block."""
    unembed: nn.Module
    """Turns hidden states into logits."""
    paths: dict[str, str]
    """Canonical name -> path of the module in the model."""
    source: str
    """`user`, `table` or `transformer_lens`: who knew the names."""
    mid: tuple[nn.Module, ...] = ()
    """One module per block; its input is `blocks.i.hook_resid_mid`. May be empty."""
    attention_out: tuple[nn.Module, ...] = ()
    """Output projection of each attention; its input is `blocks.i.attn.hook_z`, the attention
    heads side by side. May be empty. Proved by `prove_heads`."""
    missing: dict[str, str] = field(default_factory=dict)
    """Name with `{block}` of a site that some block lacks -> why."""

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)


def resolve(model: nn.Module, paths: Mapping[str, str] | None = None) -> Sites:
    """Find blocks, attention, MLP and final norm of a causal language model.

    Args:
        model: The Hugging Face model itself, not a PEFT wrapper around it.
        paths: Name -> module path, where the user knows the model; see `site_paths`.

    Raises:
        ConfigError: The architecture is unknown, with the module tree in the message; or
            a path of the user leads nowhere.
    """
    if paths:
        return _sites(model, user_components(model, paths), "user")
    if (found := table_components(model)) is not None:
        return _sites(model, found, "table")
    if (found := adapter_components(model)) is not None:
        return _sites(model, found, "transformer_lens")
    if (found := table_components(model, partly=True)) is not None:
        return _sites(model, found, "table")
    raise ConfigError(
        f"cannot find the layers of a {type(model).__name__}; its modules are:\n" + _tree(model),
        fix="use a decoder-only model of a family that TransformerLens knows, "
        "or name the modules in a file with --sites-file",
    )


def need(model: nn.Module, found: Sites, part: str) -> None:
    """Refuse to read a part that the family lacks.

    Args:
        model: For its name.
        found: Its sites.
        part: `attention`, `attention_out`, `mid` or `mlp_out`.

    Raises:
        CheckpointError: Some block lacks it; says which and why.
    """
    if not getattr(found, part):
        name = _NAMES[part]
        raise CheckpointError(
            f"a {type(model).__name__} has no {name}: {found.missing.get(name, 'not found')}",
            fix=_WITHOUT[part],
        )


@torch.no_grad()
def check_sites(model: nn.Module, found: Sites, inputs: dict[str, Any]) -> Sites:
    """Prove on a real input that the sites are what their names say.

    With no difference at all: the input of block i is `hidden_states[i]`, the output of
    a block is the input of the next, that of the last is the input of the final norm,
    and what the norm makes of it is the last of the hidden states.

    Returns:
        The sites that were proved: what is optional and fails is in `missing` instead.

    Raises:
        CheckpointError: The residual stream is not what the sites hold.
    """
    chain = (*found.blocks, found.final_norm)
    before: list[list[Tensor]] = [[] for _ in chain]
    after: list[list[Tensor]] = [[] for _ in chain]
    hooks = [Hook(module, "input", before[i].append) for i, module in enumerate(chain)]
    hooks += [Hook(module, "output", after[i].append) for i, module in enumerate(chain)]
    calls: dict[str, list[list[Any]]] = {}
    for part in ("attention", "attention_out", "mlp_out"):
        calls[part] = [[] for _ in getattr(found, part)]
        pairs = zip(getattr(found, part), calls[part], strict=True)
        hooks += [Hook(module, "output", made.append) for module, made in pairs]
    middles = [MidPoint(*pair) for pair in zip(found.blocks, found.mid, strict=False)]
    with contextlib.ExitStack() as stack:
        for one in (Hooks(hooks), *(middle.attached() for middle in middles)):
            stack.enter_context(one)
        states = model(**inputs, output_hidden_states=True).hidden_states
    fault = _fault(before, after, states)
    if found.final_norm is found.unembed:  # scoring cuts its input down before others read it
        fault = "no norm, or other module of its own, follows the last block"
    if fault:
        raise CheckpointError(
            f"the sites of this {type(model).__name__} do not hold what their names say: {fault}",
            fix="name its modules in a file with --sites-file, or report its config.json",
        )
    faults = {part: _uncalled(found, part, calls[part]) for part in calls}
    faults["mid"] = next((f"block {i}: {m.reason}" for i, m in enumerate(middles) if m.reason), "")
    return _without(found, faults)


def _fault(
    before: list[list[Tensor]], after: list[list[Tensor]], states: tuple[Tensor, ...]
) -> str:
    """Say what is wrong with the chain of blocks and final norm; empty where nothing is."""
    layers = len(before) - 1
    if odd := [i for i, reads in enumerate(before) if len(reads) != 1]:
        name = "the final norm" if odd[0] == layers else f"block {odd[0]}"
        return f"{name} is called {len(before[odd[0]])} times in one pass"
    if len(states) != layers + 1:
        return f"there are {len(states)} hidden states for {layers} blocks"
    if states[0].dim() != 3:
        return f"its residual stream has the shape {tuple(states[0].shape)}, not one of 3 axes"
    inputs, outputs = [reads[0] for reads in before], [made[0] for made in after]
    wrong = _different(inputs, states)
    # State-space families count hidden states after the blocks, all others before them.
    if wrong and _different(outputs, states):
        return f"the input of block {wrong[0]} is not hidden state {wrong[0]}"
    for i in range(layers):
        if not _same(outputs[i], inputs[i + 1]):
            after_it = "the final norm" if i + 1 == layers else f"block {i + 1}"
            return f"the output of block {i} is not the input of {after_it}"
    # Where no norm follows the last block, its output is the last hidden state itself.
    if not _same(outputs[-1], states[-1]) and not _same(inputs[-1], states[-1]):
        return "the final norm does not give the last hidden state"
    return ""


def _different(values: list[Tensor], states: tuple[Tensor, ...]) -> list[int]:
    """List the blocks whose value is not the hidden state of their number."""
    return [i for i in range(len(states) - 1) if not _same(values[i], states[i])]


def _uncalled(found: Sites, part: str, calls: list[list[Any]]) -> str:
    for i, (module, made) in enumerate(zip(getattr(found, part), calls, strict=True)):
        if all(module is not inner for inner in found.blocks[i].modules()):
            return f"block {i} does not hold the module that was found for it"
        if len(made) != 1:
            return f"the module of block {i} is called {len(made)} times in one pass"
    return ""


def _without(found: Sites, faults: Mapping[str, str]) -> Sites:
    """Take out the parts that have a fault."""
    out: dict[str, Any] = {part: () for part, fault in faults.items() if fault}
    why = {_NAMES[part]: fault for part, fault in faults.items() if fault}
    return replace(found, missing={**found.missing, **why}, **out) if out else found


def _same(ours: Any, theirs: Tensor) -> bool:
    return (
        isinstance(ours, Tensor)
        and ours.shape == theirs.shape
        and bool(torch.allclose(ours, theirs, rtol=0.0, atol=0.0, equal_nan=True))
    )


def _sites(model: nn.Module, found: Components, source: str) -> Sites:
    names = {id(module): name for name, module in model.named_modules()}
    paths = {"ln_final": names[id(found.final_norm)], "unembed": names[id(found.unembed)]}
    missing = {}
    parts: dict[str, tuple[nn.Module, ...]] = {}
    for part, kind, modules in (
        ("blocks", "blocks.{}", found.blocks),
        ("attention", "blocks.{}.attn", found.attention),
        ("attention_out", "blocks.{}.attn.o", found.attention_out),
        ("mid", "blocks.{}.ln2", found.mid),
        ("mlp", "blocks.{}.mlp", found.mlp),
        ("mlp_out", "blocks.{}.mlp.out", found.mlp_out),
    ):
        there = {i: module for i, module in enumerate(modules) if module is not None}
        paths |= {kind.format(i): names[id(module)] for i, module in there.items()}
        parts[part] = tuple(there.values()) if len(there) == len(found.blocks) else ()
        if not parts[part] and part in _NAMES:
            missing[_NAMES[part]] = _why(part, found, there)
    return Sites(
        blocks=found.blocks,
        attention=parts["attention"],
        mlp_out=parts["mlp_out"],
        final_norm=found.final_norm,
        unembed=found.unembed,
        paths=paths,
        source=source,
        mid=parts["mid"],
        attention_out=parts["attention_out"],
        missing=missing,
    )


def _why(part: str, found: Components, there: Mapping[int, nn.Module]) -> str:
    """Say why a part is not read in this family."""
    if there:
        return f"only blocks {', '.join(map(str, there))} of {len(found.blocks)} have it"
    if part == "mlp_out" and any(found.mlp):
        experts = [mlp for mlp in found.mlp if mlp is not None and hasattr(mlp, "experts")]
        kind = type(next(iter(experts), next(filter(None, found.mlp)))).__name__
        return f"{kind} has no single last map" + (": a mixture of experts" if experts else "")
    return "no module of a known name"


def _tree(model: nn.Module, depth: int = 3) -> str:
    lines = [
        f"  {name}: {type(module).__name__}"
        for name, module in model.named_modules()
        if name and name.count(".") < depth
    ]
    return "\n".join(lines[:40])
