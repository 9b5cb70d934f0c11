"""Which adapter parameters a text such as `2`, `0-1.mlp` or `down_proj` names.

Several are joined by commas. A part is `all`, layers (`2`, `0-1`, `2-`), the name of a module or
of several that lie in one another (`mlp`, `mlp.down_proj`, `lora_A`), or layers and a name joined
by a dot (`2.down_proj`). A layer is the number of a block.
"""

import re
from collections.abc import Iterable

from critical_phase.errors import ConfigError

_LAYERS = re.compile(r"(\d+)(?:([-:])(\d*))?")
_WRAPPERS = ("base_model", "model", "default", "weight", "bias")


def places_named(text: str, names: Iterable[str]) -> frozenset[str]:
    """Return the parameters that a text names.

    Args:
        text: Parts joined by commas; see the module.
        names: Adapter parameters, by the names PEFT gives them.

    Raises:
        ConfigError: A part cannot be read, or names nothing.
    """
    known = tuple(names)
    found: set[str] = set()
    for part in text.split(","):
        matched = {name for name in known if _matches(part.strip(), name)}
        if not matched:
            raise ConfigError(f"no adapter parameter lies in {part.strip()!r}", fix=_there(known))
        found |= matched
    return frozenset(found)


def layer_of(name: str) -> int | None:
    """Return the block that a parameter lies in: the first number in its name."""
    return next((int(part) for part in name.split(".") if part.isdecimal()), None)


def layers_named(text: str, count: int) -> tuple[int, ...]:
    """Return the layers that a text of layers alone names, ascending.

    Raises:
        ConfigError: It cannot be read, or names a layer that the model does not have.
    """
    found: set[int] = set()
    for part in text.split(","):
        layers = range(count) if part.strip() == "all" else _layers(part.strip(), count)
        if layers is None or not set(layers) <= set(range(count)) or not layers:
            raise ConfigError(
                f"cannot use the layers {part.strip()!r}: the model has layers 0 to {count - 1}",
                fix="write all, 2, 0-1, or several joined by commas",
            )
        found |= set(layers)
    return tuple(sorted(found))


def _matches(part: str, name: str) -> bool:
    if part == "all":
        return True
    head, dot, rest = part.partition(".")
    layers = _layers(head, 1 << 30)
    if layers is not None and (rest or not dot):
        layer = layer_of(name)
        return layer is not None and layer in layers and (not rest or _inside(rest, name))
    return _inside(part, name)


def _inside(path: str, name: str) -> bool:
    return bool(path) and f".{path}." in f".{name}."


def _layers(text: str, end: int) -> range | None:
    match = _LAYERS.fullmatch(text)
    if match is None:
        return None
    low = int(match[1])
    high = low if match[2] is None else int(match[3]) if match[3] else end - 1
    return range(low, high + 1)


def _there(names: Iterable[str]) -> str:
    layers = sorted({layer for name in names if (layer := layer_of(name)) is not None})
    modules = sorted({name.split(".lora_")[0].rpartition(".")[2] for name in names})
    where = f"layers {layers[0]} to {layers[-1]} and " if layers else ""
    return f"the adapter has {where}modules {', '.join(m for m in modules if m not in _WRAPPERS)}"
