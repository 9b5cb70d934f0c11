"""Options of `probe compare`. The work is in compare.py, which --help need not load."""

from pathlib import Path
from typing import Any

import click


@click.command("compare")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write to.")
@click.option("--draws", type=int, help="Bootstrap draws of questions (1000).")
@click.option("--weight", type=float, help="Weight of the subtracted term (1).")
@click.option("--seed", type=int, help="Seed of every random draw (0).")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file, section 'analyze'.")
@click.option("--json", "as_json", is_flag=True, help="Print compare.json.")
def command(**given: Any) -> None:
    """Hold the runs at PATHS against the first of them, and write a page."""
    from critical_phase.cli.compare import compare_command

    compare_command(**given)
