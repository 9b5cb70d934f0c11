"""Options that say where a model's modules are and who runs it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
import yaml

from critical_phase.errors import ConfigError

Command = TypeVar("Command", bound=Callable[..., Any])

sites_file_option = click.option(
    "--sites-file",
    type=click.Path(),
    help="YAML file of site names and module paths, for a model that no table knows.",
)
backend_option = click.option(
    "--backend",
    type=click.Choice(["hooks", "bridge"]),
    help="hooks (default), or TransformerLens' bridge where it reads the same.",
)


def site_options(command: Command) -> Command:
    """Add both options to a command."""
    return sites_file_option(backend_option(command))


def site_paths(file: str | None, given: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the module paths of a sites file, or else those of the settings.

    Args:
        file: YAML file with one mapping; see docs/sites.md.
        given: The same mapping, from `sites:` of a configuration.

    Raises:
        ConfigError: The file cannot be read, holds no mapping of names to paths, or names
            something that is no site.
    """
    from critical_phase.probes import check_site_names  # loads torch

    paths = dict(given) if file is None else _read(Path(file))
    if paths:
        try:
            check_site_names(paths)
        except ConfigError as error:
            error.where = file or "sites"
            raise
    return tuple(sorted(paths.items()))


def _read(path: Path) -> dict[str, str]:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the sites: {error}", where=str(path)) from error
    if not isinstance(loaded, dict) or not loaded:
        raise _no_mapping(path, loaded)
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise _no_mapping(path, f"{name}: {value}")
    return loaded


def _no_mapping(path: Path, found: object) -> ConfigError:
    return ConfigError(
        f"expected names and module paths, found {found!r}",
        where=str(path),
        fix="write lines such as 'blocks.{block}: model.layers.{block}' and 'ln_final: model.norm'",
    )
