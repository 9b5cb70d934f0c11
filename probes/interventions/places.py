"""Which block and which part of it every adapted module belongs to."""

import re
from collections.abc import Iterable
from typing import Any

from critical_phase.errors import CheckpointError, ConfigError
from critical_phase.probes.interventions.update import Part, Place, Spans
from critical_phase.probes.sites import Sites

_BLOCK = re.compile(r"blocks\.(\d+)")
_OUTPUTS = ("o_proj", "out_proj", "dense", "c_proj")


def find_places(modules: Iterable[str], sites: Sites) -> tuple[Place, ...]:
    """Sort adapted modules by block, then by name.

    Args:
        modules: Names in the base model.
        sites: Where its blocks are.

    Raises:
        CheckpointError: A module lies in no block, so no layer can be said for it.
    """
    blocks = {
        sites.paths[name] + ".": int(found[1])
        for name in sites.paths
        if (found := _BLOCK.fullmatch(name))
    }
    places = []
    for module in modules:
        prefix = next((path for path in blocks if module.startswith(path)), None)
        if prefix is None:
            raise CheckpointError(
                f"the adapter changes {module}, which lies in no block of the model",
                fix="interventions by layer need adapters inside the blocks alone",
            )
        places.append(Place(blocks[prefix], module, module.removeprefix(prefix)))
    return tuple(sorted(places, key=lambda place: (place.layer, place.short)))


def head_places(places: Iterable[Place], config: Any) -> tuple[Place, ...]:
    """Cut the attention modules among some places into heads.

    A head here is a key head with the query heads that read it: with grouped queries the rows of
    keys and values cannot be told apart further. Places of other modules are left out.

    Args:
        places: Whole modules.
        config: Of the language model.

    Raises:
        ConfigError: Rows of a fused module cannot be told apart by head in this family.
    """
    heads = int(config.num_attention_heads)
    groups = int(getattr(config, "num_key_value_heads", None) or heads)
    size = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    made = []
    for place in places:
        if "attn" not in place.short and "attention" not in place.short:
            continue
        kind = place.short.split(".")[-1]
        for head in range(groups):
            side, spans = _spans(kind, head, heads, groups, size)
            total = _total(kind, heads, groups, size)
            part, rest = Part(side, spans), Part(side, _others(spans, total))  # type: ignore[arg-type]
            made.append(Place(place.layer, place.module, place.short, head, part, rest))
    return tuple(made)


def _spans(kind: str, head: int, heads: int, groups: int, size: int) -> tuple[str, Spans]:
    """Return the side and the rows or columns that a head owns in one module."""
    each = heads // groups * size
    query, key = (head * each, (head + 1) * each), (head * size, (head + 1) * size)
    if kind == "q_proj":
        return "out", (query,)
    if kind in ("k_proj", "v_proj"):
        return "out", (key,)
    if kind in _OUTPUTS:
        return "in", (query,)
    if kind == "qkv_proj":
        begin = (heads * size, (heads + groups) * size)
        return "out", (query, *((b + key[0], b + key[1]) for b in begin))
    if kind == "c_attn" and heads == groups:
        return "out", tuple((b + query[0], b + query[1]) for b in _thirds(heads * size))
    if kind == "query_key_value" and heads == groups:
        return "out", ((3 * query[0], 3 * query[1]),)
    raise ConfigError(
        f"the rows of {kind} cannot be told apart by attention head",
        fix="graft whole modules instead",
    )


def _total(kind: str, heads: int, groups: int, size: int) -> int:
    """Return the rows or columns that all heads together own."""
    if kind in ("k_proj", "v_proj"):
        return groups * size
    if kind == "qkv_proj":
        return (heads + 2 * groups) * size
    return (3 if kind in ("c_attn", "query_key_value") else 1) * heads * size


def _thirds(width: int) -> tuple[int, int, int]:
    return 0, width, 2 * width


def _others(spans: Spans, total: int) -> Spans:
    """Return what some spans leave of 0 to total."""
    edges = [0, *(edge for span in spans for edge in span), total]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return tuple((a, b) for a, b in pairs if a < b)
