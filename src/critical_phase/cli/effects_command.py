"""Options of `probe effects`. The work is in effects.py, which --help need not load."""

from pathlib import Path
from typing import Any

import click

from critical_phase.cli.run_argument import run_argument


@click.command("effects")
@run_argument
@click.option(
    "--text",
    help="UTF-8 file of neutral texts, one per line. Runs of the organism have a default: "
    "64 texts of the other genre of its world, which no negative was taken from.",
)
@click.option("--second", help="Questions of another task: file, named set or 'organism'.")
@click.option("--gradients", type=int, help="Training examples whose gradients are taken (0).")
@click.option("--checkpoints", help="Steps: all (default), 0,64, 8:32, every:16, log, @-5:, ...")
@click.option("--heads", help="Heads, comma-separated (positive,negative).")
@click.option("--limit", type=int, help="Draw this many questions, of the run and of the task.")
@click.option("--window", type=int, help="Most tokens of a text that are read together (1024).")
@click.option("--batch-tokens", type=int, help="Most tokens of one forward pass (4096).")
@click.option("--memory-mb", type=int, help="Keep the base's log-probabilities up to this (1024).")
@click.option(
    "--equal-candidates",
    type=click.Choice(["refuse", "drop"]),
    help="Questions of the task that list one text twice.",
)
@click.option("--device", help="auto (default), cpu, cuda, cuda:1, ...")
@click.option("--seed", type=int, help="Seed of the draws of questions and examples (0).")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file, section 'effects'.")
@click.option("--overwrite", is_flag=True, help="Measure again what was measured otherwise.")
@click.option("--dry-run", is_flag=True, help="Print what would be read; touch nothing.")
def command(**given: Any) -> None:
    """Measure what the checkpoints of the run at PATH change beside its questions."""
    from critical_phase.cli.effects import effects_command

    effects_command(click.get_current_context(), **given)
