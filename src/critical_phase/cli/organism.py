"""`probe organism`: make the embedded model, or a sibling, anew."""

from pathlib import Path

import click

from critical_phase.checkpoints.organism import build_organism
from critical_phase.cli.console import bar, result


@click.group("organism")
def command() -> None:
    """Work with the embedded model."""


@command.command("build")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Model folder.")
@click.option("--scale", type=float, default=1.0, help="Width of the model relative to ours.")
@click.option("--accessibility", type=float, help="Share of documents with an author mark.")
@click.option("--steps", type=int, help="Pretraining steps.")
@click.option("--seed", type=int, default=0, help="Seed of world and weights.")
def build(
    *, out: Path, scale: float, accessibility: float | None, steps: int | None, seed: int
) -> None:
    """Pretrain the organism from its seed and write it to OUT."""
    given = {"accessibility": accessibility, "steps": steps}
    chosen = {key: value for key, value in given.items() if value is not None}
    with bar("pretrain", steps or 0) as progress:
        build_organism(out, scale=scale, seed=seed, progress=progress, **chosen)
    result(str(out))
