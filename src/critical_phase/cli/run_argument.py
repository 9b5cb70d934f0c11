"""The argument that names a run: a wrong path is refused before anything heavy is loaded."""

from pathlib import Path

import click

from critical_phase.cli.run_folder import open_run


def _existing(context: click.Context, parameter: click.Parameter, path: Path) -> Path:
    """Refuse a path without a run."""
    open_run(path)
    return path


run_argument = click.argument("path", type=click.Path(path_type=Path), callback=_existing)
