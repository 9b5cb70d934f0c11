"""Options of `probe curvature`. The work is in curvature.py, which --help need not load."""

from pathlib import Path
from typing import Any

import click

from critical_phase.cli.run_argument import run_argument


@click.command("curvature")
@run_argument
@click.option("--heads", help="Heads, comma-separated (positive,negative).")
@click.option("--checkpoints", help="Steps: every eighth saved (@::8), all, 0,64, 8:32, ...")
@click.option("--questions", type=int, help="Draw this many questions (all of the run).")
@click.option("--draws", type=int, help="Answers drawn from the model per question (4).")
@click.option(
    "--samples",
    type=int,
    help="Parts of the training examples whose Hessians are taken apart (4); 0: no sharpness.",
)
@click.option("--examples", type=int, help="Training examples in each of them (32).")
@click.option("--products", type=int, help="Most Hessian-vector products of one search (30).")
@click.option("--tolerance", type=float, help="Relative residual that ends a search (.05).")
@click.option("--batch", type=int, help="Questions or examples of one pass (64).")
@click.option("--device", help="auto (default), cpu, cuda, cuda:1, ...")
@click.option("--seed", type=int, help="Seed of drawn answers, examples and searches (0).")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file, section 'curvature'.")
@click.option("--overwrite", is_flag=True, help="Measure again what was measured otherwise.")
@click.option("--dry-run", is_flag=True, help="Print what would be measured; touch nothing.")
def command(**given: Any) -> None:
    """Measure Fisher trace and sharpness at checkpoints of the run at PATH."""
    from critical_phase.cli.curvature import curvature_command

    curvature_command(click.get_current_context(), **given)
