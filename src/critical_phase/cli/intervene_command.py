"""Options of `probe intervene`. The work is in intervene.py, which --help need not load."""

from pathlib import Path
from typing import Any

import click


@click.command("intervene")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--plan",
    multiple=True,
    help="Which interventions: graft (default), or others of --list; repeatable.",
)
@click.option("--from", "early", help="Early step (before the jump), such as 17 or positive@26.")
@click.option("--to", "late", help="Late step (after the jump).")
@click.option("--head", help="Head that is changed (negative, where the mode has it).")
@click.option("--mode", help="Score that is read (that of the run's headline).")
@click.option("--weight", type=float, help="Weight of the subtracted term (1).")
@click.option("--normalisation", help="sum (default), per_char, per_token or per_byte.")
@click.option("--donors", help="graft: further steps whose modules are grafted one by one.")
@click.option("--with", "options", multiple=True, help="NAME=VALUE for a plan; see --list.")
@click.option(
    "--also",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Another run that was intervened in: a seed, or another dataset; repeatable.",
)
@click.option("--text", help="Neutral texts, one per line (runs of the organism have their own).")
@click.option("--second", help="Questions of another task: file, named set or 'organism'.")
@click.option("--limit", type=int, help="Draw this many questions.")
@click.option("--draws", type=int, help="Question-bootstrap draws (1000).")
@click.option("--batch-tokens", type=int, help="Most tokens of one forward pass (4096).")
@click.option("--device", help="auto (default), cpu, cuda, cuda:1, ...")
@click.option("--seed", type=int, help="Seed of every random draw (0).")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file, section 'intervene'.")
@click.option("--overwrite", is_flag=True, help="Make again what was made otherwise.")
@click.option("--dry-run", is_flag=True, help="Print ends, places and files; touch nothing.")
@click.option("--list", "listed", is_flag=True, help="Print plans and their options; do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print what the files hold.")
def command(**given: Any) -> None:
    """Intervene in the run at PATH, between the two sides of its jump."""
    from critical_phase.cli.intervene import intervene_command

    intervene_command(**given)
