"""The blocks of a model, what follows each in the residual stream, and what writes into it."""

from typing import Any

import torch
from torch import Tensor, nn

from critical_phase.errors import ConfigError

WRITERS = ("o_proj", "out_proj", "c_proj", "dense", "wo", "down_proj", "dense_4h_to_h", "fc2")
"""Names of the last maps of attention and MLP, over the families: what a block adds."""
CLOSE = {torch.float32: 1e-5, torch.bfloat16: 3e-2}
"""How far, relative to the stream, a block's sum may round."""


def blocks_of(model: nn.Module) -> tuple[tuple[str, nn.Module], ...]:
    """Return the blocks of a causal language model, with or without an adapter, by name.

    Raises:
        ConfigError: No list of modules, or several, has as many members as the model has layers.
    """
    count = int(_config(model).num_hidden_layers)
    lists = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == count
    ]
    outer = [
        (name, module)
        for name, module in lists
        if not any(name.startswith(f"{other}.") for other, _ in lists)
    ]
    if len(outer) != 1:
        raise ConfigError(
            f"asked for the {count} blocks of the model, found {len(outer)} lists of as many parts",
            fix="freeze layers instead: a projection must know where the residual stream is",
        )
    name, blocks = outer[0]
    return tuple((f"{name}.{i}", block) for i, block in enumerate(blocks))


def width_of(model: nn.Module) -> int:
    """Return the width of the residual stream."""
    return int(_config(model).hidden_size)


def stream_of(output: Any) -> Tensor:
    """Take the residual stream out of what a block returns."""
    stream = output[0] if isinstance(output, tuple) else output
    assert isinstance(stream, Tensor)
    return stream


def with_stream(output: Any, stream: Tensor) -> Any:
    """Put another residual stream into what a block returned."""
    return (stream, *output[1:]) if isinstance(output, tuple) else stream


def writers_of(model: nn.Module, blocks: tuple[tuple[str, nn.Module], ...]) -> tuple[str, ...]:
    """Return the modules whose outputs a block adds to the residual stream.

    One forward pass holds it: what comes out of each block must be what went in plus their sum.

    Args:
        model: With or without an adapter.
        blocks: Those that are asked about, by name.

    Raises:
        ConfigError: The sum is another one, as where a norm follows the last map.
    """
    names = tuple(
        f"{block_name}.{name}"
        for block_name, block in blocks
        for name, _ in block.named_modules()
        if name.rpartition(".")[2] in WRITERS
    )
    seen: dict[str, Tensor] = {}
    handles = [_watch(model.get_submodule(name), name, seen) for name in names]
    handles += [_watch(block, name, seen) for name, block in blocks]
    try:
        _run(model)
    finally:
        for handle in handles:
            handle.remove()
    for name, _ in blocks:
        parts = [seen[one] for one in names if one.startswith(f"{name}.") and one in seen]
        added = seen[name] - seen[f"{name} in"]
        apart = float((added - sum(parts, torch.zeros_like(added))).abs().max())
        if not apart <= CLOSE.get(seen[name].dtype, 3e-2) * float(seen[name].abs().max()):
            raise ConfigError(
                f"what {name} adds to the residual stream is not the sum of what its last maps "
                f"({', '.join(WRITERS)}) give: it differs by {apart:.2g}",
                fix="use --project-mode state, which needs no such sum",
            )
    return names


def _watch(module: nn.Module, name: str, seen: dict[str, Tensor]) -> Any:
    def note(_: nn.Module, given: tuple[Any, ...], options: dict[str, Any], output: Any) -> None:
        entered = given[0] if given else options.get("hidden_states")
        if isinstance(entered, Tensor):
            seen[f"{name} in"] = entered.detach()
        seen[name] = stream_of(output).detach()

    return module.register_forward_hook(note, with_kwargs=True)


@torch.no_grad()
def _run(model: Any) -> None:
    ids = torch.arange(8, device=next(model.parameters()).device)[None]
    ids = ids.remainder(int(_config(model).vocab_size))
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        model(input_ids=ids, use_cache=False)
    finally:
        for module, mode in modes.items():
            module.training = mode


def _config(model: Any) -> Any:
    return model.config.get_text_config()
