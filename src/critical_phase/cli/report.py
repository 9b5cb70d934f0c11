"""`probe report`: write the page of a run from its saved results."""

from pathlib import Path

import click

from critical_phase.cli.console import result
from critical_phase.cli.run_folder import open_run


@click.command("report")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Folder for the page.")
@click.option("--index", is_flag=True, help="PATH is a folder of runs: write its index instead.")
def command(*, path: Path, output: Path | None, index: bool) -> None:
    """Write one offline HTML page for the run at PATH."""
    from critical_phase.reports import write_index, write_report  # --help does without figures

    if index:
        result(str(write_index(path)))
        return
    run = open_run(path)
    result(str(write_report(run.path, output)))
    write_index(run.path.resolve().parent)
