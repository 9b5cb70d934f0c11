"""`probe organism`: make the embedded model, or a sibling, anew."""

from pathlib import Path

import click

from critical_phase.checkpoints.organism import (
    DEFAULT_ACCESSIBILITY,
    DEFAULT_STEPS,
    build_organism,
)
from critical_phase.cli.console import bar, result


@click.group("organism")
def command() -> None:
    """Work with the embedded model."""


@command.command("build")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Model folder.")
@click.option("--scale", type=float, default=1.0, help="Width of the model relative to ours.")
@click.option(
    "--accessibility",
    type=float,
    default=DEFAULT_ACCESSIBILITY,
    show_default=True,
    help="Share of documents with an author mark.",
)
@click.option(
    "--steps", type=int, default=DEFAULT_STEPS, show_default=True, help="Pretraining steps."
)
@click.option("--seed", type=int, default=0, help="Seed of world and weights.")
def build(*, out: Path, scale: float, accessibility: float, steps: int, seed: int) -> None:
    """Pretrain the organism from its seed and write it to OUT."""
    with bar("pretrain", steps) as progress:
        build_organism(
            out,
            scale=scale,
            accessibility=accessibility,
            seed=seed,
            steps=steps,
            progress=progress,
        )
    result(str(out))
