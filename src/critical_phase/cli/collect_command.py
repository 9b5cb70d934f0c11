"""Options of `probe collect`. The work is in collect.py, which --help need not load."""

from pathlib import Path
from typing import Any

import click

from critical_phase.cli.collector_options import collector_options
from critical_phase.cli.engine_options import engine_options
from critical_phase.cli.run_folder import open_run
from critical_phase.cli.series_options import NAMES, series_options
from critical_phase.cli.site_options import site_options


@click.command("collect")
@click.argument("path", type=click.Path(path_type=Path), required=False)
@series_options
@engine_options
@site_options
@collector_options
@click.option("--checkpoints", help="Steps: all (default), 0,64, 8:32, every:16, log, @-5:, ...")
@click.option("--heads", help="Heads, comma-separated (positive,negative).")
@click.option("--scores-only", is_flag=True, help="Score every row, store no activations.")
@click.option("--contexts", help="Score behind other texts (answer_only,shots-5,...), or again.")
@click.option("--limit", type=int, help="Draw this many evaluation questions.")
@click.option("--batch-tokens", type=int, help="Most tokens of one forward pass (4096).")
@click.option("--patterns", type=int, help="Questions whose whole attention is kept (2).")
@click.option(
    "--store-dtype", type=click.Choice(["auto", "float32", "float16", "bfloat16"]), help="Type."
)
@click.option("--device", help="auto (default), cpu, cuda, cuda:1, ...")
@click.option("--seed", type=int, help="Seed of the draw of questions (0).")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file, section 'collect'.")
@click.option("--overwrite", is_flag=True, help="Collect again what other settings collected.")
@click.option("--dry-run", is_flag=True, help="Print units and bytes; touch nothing.")
def command(**given: Any) -> None:
    """Record scores and activations of the run at PATH, or of series made elsewhere."""
    of_series = any(given[name] is not None for name in (*NAMES, "out")) or given["series"]
    if given["path"] is not None and not of_series:
        open_run(given["path"])  # a wrong path is said before anything heavy is loaded
    from critical_phase.cli.collect import collect_command

    collect_command(click.get_current_context(), **given)
