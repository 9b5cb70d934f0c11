"""Module paths that a user gives for a model that no table knows."""

from collections.abc import Mapping

from torch import nn

from critical_phase.errors import ConfigError
from critical_phase.probes.architecture import Components, Each, get_module, output_embeddings

PARTS = {
    "blocks.{block}": "a transformer block",
    "blocks.{block}.attn": "its attention",
    "blocks.{block}.attn.o": "the output projection of its attention",
    "blocks.{block}.ln2": "what reads the residual stream between attention and MLP",
    "blocks.{block}.mlp": "its MLP",
    "blocks.{block}.mlp.out": "the last linear map of its MLP",
    "ln_final": "the norm after the last block",
    "unembed": "what makes logits",
}
"""Names that may be given; TransformerLens' own."""
_NEEDED = ("blocks.{block}", "ln_final")


def check_site_names(paths: Mapping[str, str]) -> None:
    """Refuse names that mean nothing, and paths that cannot belong to them.

    Raises:
        ConfigError: An unknown or missing name, or a path with or without `{block}` where
            its name is without or with it.
    """
    known = ", ".join(PARTS)
    if odd := [name for name in paths if name not in PARTS]:
        raise ConfigError(f"no site is called {odd[0]!r}", fix=f"known: {known}")
    if lost := [name for name in _NEEDED if name not in paths]:
        raise ConfigError(f"no path is given for {lost[0]!r}", fix=f"name {PARTS[lost[0]]}")
    for name, path in paths.items():
        if ("{block}" in name) != ("{block}" in path):
            raise ConfigError(
                f"{name} is {path!r}: "
                + ("{block} is missing" if "{block}" in name else "{block} does not belong"),
                fix="write {block} where the number of the block stands, and only there",
            )


def user_components(model: nn.Module, paths: Mapping[str, str]) -> Components:
    """Find the modules at the paths that a user gave.

    Args:
        model: A causal language model.
        paths: Name of `PARTS` -> path of the module, `{block}` standing for the block's
            number, such as `model.layers.{block}`.

    Raises:
        ConfigError: A name is unknown, or no module is at a path.
    """
    check_site_names(paths)
    blocks: list[nn.Module] = []
    while (found := get_module(model, _at(paths["blocks.{block}"], len(blocks)))) is not None:
        blocks.append(found)
    if not blocks:
        raise _no_module(model, "blocks.{block}", _at(paths["blocks.{block}"], 0))

    def each(name: str) -> Each:
        if name not in paths:
            return (None,) * len(blocks)
        modules = tuple(get_module(model, _at(paths[name], i)) for i in range(len(blocks)))
        if not any(modules):
            raise _no_module(model, name, _at(paths[name], 0))
        return modules

    unembed = output_embeddings(model)
    if "unembed" in paths or unembed is None:
        unembed = _one(model, "unembed", paths.get("unembed", "lm_head"))
    return Components(
        blocks=tuple(blocks),
        attention=each("blocks.{block}.attn"),
        attention_out=each("blocks.{block}.attn.o"),
        mid=each("blocks.{block}.ln2"),
        mlp=each("blocks.{block}.mlp"),
        mlp_out=each("blocks.{block}.mlp.out"),
        final_norm=_one(model, "ln_final", paths["ln_final"]),
        unembed=unembed,
    )


def _at(path: str, block: int) -> str:
    return path.replace("{block}", str(block))


def _one(model: nn.Module, name: str, path: str) -> nn.Module:
    found = get_module(model, path)
    if found is None:
        raise _no_module(model, name, path)
    return found


def _no_module(model: nn.Module, name: str, path: str) -> ConfigError:
    """Say how far the path leads and what is there."""
    here, so_far = model, ""
    for part in path.split("."):
        following = get_module(here, part)
        if following is None:
            break
        here, so_far = following, f"{so_far}.{part}".lstrip(".")
    there = ", ".join(name for name, _ in here.named_children()) or "nothing"
    return ConfigError(
        f"{name}: a {type(model).__name__} has no module {path!r}",
        where=so_far or "the model itself",
        fix=f"choose from what is there: {there}",
    )
