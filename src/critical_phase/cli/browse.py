"""`probe browse`: open the report of a run, or the index of all runs."""

import webbrowser
from pathlib import Path

import click

from critical_phase.cli.console import result
from critical_phase.errors import InputError


def page_of(path: Path) -> Path:
    """Return the page to open: a run's report, or the index of a folder of runs.

    Raises:
        InputError: There is no report and no run at this path.
    """
    report = path / "report" / "report.html"
    if report.is_file():
        return report
    if (path / "run.json").is_file():
        raise InputError("this run has no report", where=str(path), fix=f"probe report {path}")
    if any(path.glob("*/run.json")):
        from critical_phase.reports import write_index  # --help does without figures

        return write_index(path)
    raise InputError("no run and no folder of runs here", where=str(path), fix="probe demo")


@click.command("browse")
@click.argument("path", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--print", "print_only", is_flag=True, help="Print the address, open nothing.")
def command(*, path: Path, print_only: bool) -> None:
    """Open the report of PATH, or the index of the runs below it, in the web browser."""
    address = page_of(path).resolve().as_uri()
    if not print_only:
        webbrowser.open(address)
    result(address)
