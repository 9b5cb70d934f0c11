"""Read the YAML file of a sweep, and refuse numbers that YAML made out of `8:32`."""

from pathlib import Path
from typing import Any

import yaml

from critical_phase.errors import ConfigError, InputError


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one mapping.

    Raises:
        InputError: The file cannot be read.
        ConfigError: It is not YAML, not a mapping, names a key twice, or holds a number in
            base 60.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the sweep: {error}", where=str(path)) from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"this is not YAML: {error}", where=str(path)) from error
    if not isinstance(root, yaml.MappingNode) or not isinstance(value, dict):
        raise ConfigError(
            "a sweep is a mapping with keys such as factors and train", where=str(path)
        )
    _check_node(root, path)
    return value


def _check_node(node: yaml.Node, path: Path) -> None:
    """Look at every scalar as it was written."""
    if isinstance(node, yaml.MappingNode):
        names = [str(key.value) for key, _ in node.value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"the key {twice[0]!r} is given twice", where=_place(node, path))
        for _, value in node.value:
            _check_node(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_node(value, path)
    elif isinstance(node, yaml.ScalarNode) and _is_base_60(node):
        raise ConfigError(
            f"YAML reads {node.value} as a number in base 60",
            where=_place(node, path),
            fix=f'put quotes around it: "{node.value}"',
        )


def _is_base_60(node: yaml.ScalarNode) -> bool:
    return node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float") and ":" in node.value


def _place(node: yaml.Node, path: Path) -> str:
    return f"{path}, line {node.start_mark.line + 1}"
