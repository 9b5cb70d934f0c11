"""Read the YAML file of a sweep: mappings of known keys, no number that was meant as text."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from critical_phase.cli.settings import TrainSettings
from critical_phase.errors import ConfigError, InputError

Values = dict[str, Any]


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


def read_factors(value: Values, where: str, place: str) -> dict[str, list[Any]]:
    """Check that every factor is a setting with at least one level."""
    check_settings(value, where, place)
    for key, levels in value.items():
        if not isinstance(levels, list):
            raise ConfigError(
                f"factor {key!r} needs a list of levels, found {levels!r}",
                where=f"{where}, {place}",
                fix=f"write {key}: [{levels}], or put it under train",
            )
        if not levels:
            raise ConfigError(f"factor {key!r} has no levels", where=f"{where}, {place}")
    return {key: list(levels) for key, levels in value.items()}


def check_settings(value: Values, where: str, place: str) -> None:
    """Refuse what is no training setting."""
    check_keys(value, tuple(TrainSettings.model_fields), where, place, "setting")


def check_keys(
    value: Mapping[str, Any], known: Sequence[str], where: str, place: str, what: str = "key"
) -> None:
    """Refuse an unknown key, and name the nearest known one."""
    for key in value:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            fix = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise ConfigError(
                f"unknown {what} {key!r}", where=f"{where}, {place}".rstrip(", "), fix=fix
            )


def mapping(value: Mapping[str, Any], key: str, where: str) -> Values:
    """Take one part of the file that is a mapping; empty where it is left out."""
    found = value.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError(f"{key} must be a mapping, found {found!r}", where=where)
    return dict(found)


def is_count(value: Any) -> bool:
    """Say whether a value is a whole number above 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


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
