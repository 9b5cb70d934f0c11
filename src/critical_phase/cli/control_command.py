"""Options of `probe control`. The work is in control.py, which --help need not load."""

from pathlib import Path
from typing import Any

import click

from critical_phase.cli.choices import RANDOM_ADAPTER
from critical_phase.cli.run_argument import run_argument


@click.command("control")
@run_argument
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The new run folder.")
@click.option("--kind", default=RANDOM_ADAPTER, show_default=True, help="What the control is.")
@click.option("--heads", default="negative", show_default=True, help="Heads, comma-separated.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the control.")
def command(**given: Any) -> None:
    """Make a control of the trained run at PATH: a run that collect, analyze and report take.

    The chosen heads become random adapters that have moved as far as the trained ones at
    every step, in every module; the other head is shared.
    """
    from critical_phase.cli.control import control_command

    control_command(**given)
