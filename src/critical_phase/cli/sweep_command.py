"""Options of `probe sweep`. The work is in sweep.py, which --help need not load."""

from pathlib import Path
from typing import Any

import click

HELP = """Train, collect and compare every cell of the sweep in FILE.

\b
FILE is YAML; every key may be left out:
  name     title of the sweep (name of the file)
  train    settings of probe train that all cells share ({})
  factors  setting: [levels]; every combination is a cell ({})
  cells    list of settings: more cells, each crossed with the factors
           that it does not name ([])
  sizes    [numbers of questions], one finished run each; or
           {values: [..], epochs: 1, factors: {..}} (none)
  epochs   passes of a plain list of sizes (1)
  collect  settings of probe collect ({})
  analyze  true, or settings of probe analyze: analysis and page of
           every cell (false)
"""


@click.command("sweep", help=HELP)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the sweep.")
@click.option("--jobs", type=int, default=1, help="Workers on this machine, one GPU each (1).")
@click.option("--shard", help="i/n: make only this part of the cells, for several machines.")
@click.option("--dry-run", is_flag=True, help="List the cells and touch nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(**given: Any) -> None:
    """Make, resume or list a sweep, as `HELP` says."""
    from critical_phase.cli.sweep import sweep_command

    sweep_command(click.get_current_context(), **given)
