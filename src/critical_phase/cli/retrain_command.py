"""Options of `probe retrain`. The work is in retrain.py, which --help need not load."""

from pathlib import Path
from typing import Any

import click

from critical_phase.cli.run_argument import run_argument
from critical_phase.cli.withhold_options import WITHHOLD_OPTIONS


def _withhold_options(function: Any) -> Any:
    for option in reversed(WITHHOLD_OPTIONS):
        function = option(function)
    return function


@click.command("retrain")
@run_argument
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the runs.")
@_withhold_options
@click.option("--control", multiple=True, help="What a control withholds instead; repeatable.")
@click.option("--from", "early", help="Step before the jump (that of the findings).")
@click.option("--to", "late", help="Step after the jump (that of the findings).")
@click.option("--mode", help="Score that is read (that of the run's headline).")
@click.option("--weight", type=float, help="Weight of the subtracted term (1).")
@click.option("--draws", type=int, help="Question-bootstrap draws (1000).")
@click.option("--seed", type=int, help="Seed of draws and of what a control withholds (0).")
@click.option("--device", help="auto (default), cpu, cuda, cuda:1, ...")
@click.option("--json", "as_json", is_flag=True, help="Print what the file holds.")
def command(**given: Any) -> None:
    """Train the run at PATH again with something withheld: does its jump move or vanish?"""
    from critical_phase.cli.retrain import retrain_command

    retrain_command(**given)
