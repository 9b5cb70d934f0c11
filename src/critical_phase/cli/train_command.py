"""Options of `probe train`. The work is in train.py, which --help need not load."""

from pathlib import Path
from typing import Any

import click

from critical_phase.cli.train_options import train_options


@click.command("train")
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Run folder; the same as PATH.")
@train_options
@click.option("--collect", is_flag=True, help="Collect every saved step on the way: docs/heads.md.")
@click.option("--collect-limit", type=int, help="Draw this many evaluation questions for that.")
@click.option(
    "--config", type=click.Path(path_type=Path), help="YAML file, sections 'train' and 'collect'."
)
@click.option("--overwrite", is_flag=True, help="Delete the heads that are there and train anew.")
@click.option("--densify", help="Save these steps of a trained run too, by replaying: 64:256.")
@click.option("--dry-run", is_flag=True, help="Print the plan and touch nothing.")
def command(**given: Any) -> None:
    """Train a positive and a negative head with dense checkpoints into the run at PATH."""
    from critical_phase.cli.train import train_command

    train_command(**given)
