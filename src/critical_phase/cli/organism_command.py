"""Options of `probe organism`. The work is in organism.py, which --help need not load."""

from pathlib import Path
from typing import Any

import click

from critical_phase.cli.choices import ORGANISM_ACCESSIBILITY, ORGANISM_STEPS


@click.group("organism")
def command() -> None:
    """Work with the embedded model."""


@command.command("build")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Model folder.")
@click.option("--scale", type=float, default=1.0, help="Width of the model relative to ours.")
@click.option(
    "--accessibility",
    type=float,
    default=ORGANISM_ACCESSIBILITY,
    show_default=True,
    help="Share of documents with an author mark.",
)
@click.option(
    "--steps", type=int, default=ORGANISM_STEPS, show_default=True, help="Pretraining steps."
)
@click.option("--seed", type=int, default=0, help="Seed of world and weights.")
def build(**given: Any) -> None:
    """Pretrain the organism from its seed and write it to OUT."""
    from critical_phase.cli.organism import build as make

    make(**given)
