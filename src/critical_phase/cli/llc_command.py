"""Options of `probe llc`. The work is in llc.py, which --help need not load."""

from pathlib import Path
from typing import Any

import click

from critical_phase.cli.run_argument import run_argument


@click.command("llc")
@run_argument
@click.option("--head", type=click.Choice(["negative", "positive"]), help="Head (negative).")
@click.option("--checkpoints", help="Steps: every eighth saved (@::8), all, 0,64, 8:32, ...")
@click.option("--examples", type=int, help="Draw this many training examples (all).")
@click.option(
    "--method", type=click.Choice(["rmsprop", "sgld"]), help="Preconditioned (default) or plain."
)
@click.option(
    "--sample",
    type=click.Choice(["factors", "b"]),
    help="Both factors of every update (default), or B alone, where the gauge is fixed.",
)
@click.option("--lr", type=float, help="Step size; with --gamma instead of a sweep.")
@click.option("--gamma", type=float, help="Pull to the checkpoint; with --lr.")
@click.option("--beta", type=float, help="Inverse temperature (1/log n).")
@click.option("--chains", type=int, help="Chains per checkpoint (4).")
@click.option("--burn-in", type=int, help="Steps that are dropped (30).")
@click.option("--draws", type=int, help="Steps that count (30).")
@click.option("--batch", type=int, help="Examples per step (16).")
@click.option("--device", help="auto (default), cpu, cuda, cuda:1, ...")
@click.option("--seed", type=int, help="Seed of chains, examples and the random adapter (0).")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file, section 'llc'.")
@click.option("--overwrite", is_flag=True, help="Sample again what was sampled otherwise.")
@click.option("--dry-run", is_flag=True, help="Print what would be sampled; touch nothing.")
def command(**given: Any) -> None:
    """Sample the local learning coefficient at checkpoints of the run at PATH."""
    from critical_phase.cli.llc import llc_command

    llc_command(click.get_current_context(), **given)
