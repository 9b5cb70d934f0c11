"""Options of `probe export`. The work is in export.py, which --help need not load."""

from pathlib import Path
from typing import Any

import click

from critical_phase.cli.choices import EXPORT_DTYPES, EXPORT_FORMATS


@click.command("export")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--to", required=True, type=click.Path(path_type=Path), help="Folder for the copies.")
@click.option("--format", "form", required=True, type=click.Choice(EXPORT_FORMATS), help="Format.")
@click.option(
    "--dtype", type=click.Choice(EXPORT_DTYPES), default=EXPORT_DTYPES[0], help="Type of halves."
)
@click.option("--datasets", help="Datasets or groups: residual,attention_summary (all).")
@click.option("--heads", help="Heads, comma-separated (all); the base is always there.")
@click.option("--checkpoints", default="all", help="Steps: all (default), 0,64, 8:32, log, ...")
@click.option("--overwrite", is_flag=True, help="Replace copies of other content.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(**given: Any) -> None:
    """Copy the stored files of the run at PATH without bfloat16, for other readers.

    Values are equal to the stored ones. Repeat the command to continue after an interruption.
    """
    from critical_phase.cli.export import export_command

    export_command(click.get_current_context(), **given)
