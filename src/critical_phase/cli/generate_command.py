"""Options of `probe generate`. The work is in generate.py, which --help need not load."""

from pathlib import Path
from typing import Any

import click

from critical_phase.cli.run_argument import run_argument


@click.command("generate")
@run_argument
@click.option(
    "--mode",
    help="contrast (default), merged, base, positive, negative; several joined by commas.",
)
@click.option("--step", "steps", help="Step of both heads, or several (last).")
@click.option(
    "--alpha", "--strength", "alpha", help="Strengths of the pair, joined by commas (0.5,1,2)."
)
@click.option(
    "--plausibility", type=float, help="Least probability, as a share of the best token's (0.1)."
)
@click.option(
    "--plausible-to", "reference", help="Whose probability that is: base (default) or positive."
)
@click.option("--questions", help="File, named set or 'organism' (the run's own questions).")
@click.option("--before", help="Text before every prompt, such as an author's mark.")
@click.option("--prompt", "prompts", multiple=True, help="Answer this text alone; repeatable.")
@click.option("--max-new-tokens", "new_tokens", type=int, help="Most tokens of an answer (32).")
@click.option("--stop", multiple=True, help="Text that ends an answer, beside the line's end.")
@click.option("--sample", is_flag=True, default=None, help="Draw tokens; else the likeliest.")
@click.option("--temperature", type=float, help="Of the draws (1).")
@click.option("--samples", type=int, help="Answers drawn per question (1).")
@click.option("--rank", type=int, help="merged: truncate to this rank, and say what is lost.")
@click.option(
    "--save-merged",
    type=click.Path(path_type=Path),
    help="merged: write the adapter as a PEFT folder, at one step and one alpha.",
)
@click.option("--limit", type=int, help="Draw this many questions.")
@click.option("--draws", type=int, help="Question-bootstrap draws (1000).")
@click.option("--batch-tokens", type=int, help="Most tokens of a batch, all models (4096).")
@click.option("--device", help="auto (default), cpu, cuda, cuda:1, ...")
@click.option("--seed", type=int, help="Seed of every random draw (0).")
@click.option("--no-text", is_flag=True, default=None, help="Store a hash in place of each text.")
@click.option("--overwrite", is_flag=True, help="Decode again what is stored.")
@click.option("--json", "as_json", is_flag=True, help="Print what the summary files hold.")
def command(**given: Any) -> None:
    """Let the run at PATH answer freely, from its pair of heads and from each alone."""
    from critical_phase.cli.generate import generate_command

    generate_command(**given)
