"""Options of `probe score`. The work is in score.py, which --help need not load."""

from pathlib import Path
from typing import Any

import click

from critical_phase.cli.choices import SCORE_MODES


@click.command("score")
@click.argument("model")
@click.option("--questions", required=True, help="File, organism, or a named set such as arc.")
@click.option("--adapter", type=click.Path(path_type=Path), help="One checkpoint.")
@click.option("--positive", type=click.Path(path_type=Path), help="Checkpoint of that head.")
@click.option("--negative", type=click.Path(path_type=Path), help="Checkpoint of that head.")
@click.option("--mode", type=click.Choice(SCORE_MODES), help="How heads are combined.")
@click.option("--weight", type=float, default=1.0, help="Factor on the subtracted head (1).")
@click.option("--context", help="Text before answers: shots-5, shots-25@1234, shuffled, ...")
@click.option("--train-questions", help="Where shots come from; named sets have their own.")
@click.option("--premise", help="Domain premise of pmi_dc; the prompt format has its own.")
@click.option("--prompt", help="Prompt format: cloze (default), plain, ...")
@click.option("--equal-candidates", type=click.Choice(["refuse", "drop"]), default="refuse")
@click.option(
    "--too-long",
    type=click.Choice(["refuse", "drop"]),
    default="refuse",
    help="Questions with more tokens than the model reads.",
)
@click.option("--limit", type=int, help="Draw this many questions.")
@click.option("--layout", type=click.Choice(["auto", "packed", "cached", "naive"]), default="auto")
@click.option("--batch-tokens", type=int, default=4096, help="Most tokens of one pass (4096).")
@click.option("--dtype", default="float32", help="float32 (default) or bfloat16.")
@click.option("--device", default="auto", help="auto (default), cpu, cuda, ...")
@click.option("--seed", type=int, default=0, help="Of draws and of the bootstrap (0).")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
@click.option("--out", type=click.Path(path_type=Path), help="CSV of every candidate.")
def command(**given: Any) -> None:
    """Print how often MODEL is right on a set of questions, by every usual measure."""
    from critical_phase.cli.score import score_command

    score_command(**given)
