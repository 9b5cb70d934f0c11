"""`probe report`: write the page of a run from its saved results, once or while it goes on."""

import time
from pathlib import Path

import click

from critical_phase.cli.console import result, say
from critical_phase.cli.interrupt import stop_on_interrupt
from critical_phase.cli.run_folder import open_run
from critical_phase.errors import ConfigError, StoreError


def watch_run(
    run: Path, output: Path | None, *, every: float = 2.0, limit: float | None = None
) -> int:
    """Write the page of a run again whenever its analysis changes.

    A run that is not analysed yet is waited for. Results that cannot be read are named, and
    tried again when they change.

    Args:
        run: Run folder.
        output: Where to write, as for `write_report`.
        every: Seconds between two looks.
        limit: Seconds after which to end; until Ctrl-C or SIGTERM if left out.

    Returns:
        How many pages were written.
    """
    from critical_phase.reports.watch import watch  # --help does without figures

    pages: list[Path] = []

    def write() -> None:
        started = time.monotonic()
        try:
            pages.append(_write(run, output))
        except StoreError as error:
            say(f"not written: {error}")
            return
        say(f"page {len(pages)} written in {time.monotonic() - started:.1f} s: {pages[-1]}")

    with stop_on_interrupt() as stopped:
        watch(run, write, stopped=stopped, every=every, limit=limit)
    return len(pages)


def _write(run: Path, output: Path | None) -> Path:
    from critical_phase.reports import write_index, write_report

    page = write_report(run, output)
    write_index(run.resolve().parent)
    return page


@click.command("report")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Folder for the page.")
@click.option("--index", is_flag=True, help="PATH is a folder of runs: write its index instead.")
@click.option("--watch", is_flag=True, help="Write again when the analysis changes, until Ctrl-C.")
@click.option("--every", type=click.FloatRange(min=0.1), help="Seconds between two looks (2).")
@click.option("--for", "limit", type=click.FloatRange(min=0), help="End the watch after seconds.")
def command(
    *,
    path: Path,
    output: Path | None,
    index: bool,
    watch: bool,
    every: float | None,
    limit: float | None,
) -> None:
    """Write one offline HTML page for the run at PATH."""
    if index and (watch or output):
        raise ConfigError(
            "--index writes the index of a folder, without a run to watch and with a fixed place",
            fix=f"probe report --index {path}",
        )
    if not watch and (every is not None or limit is not None):
        raise ConfigError("--every and --for belong to a watch", fix=f"probe report {path} --watch")
    if index:
        from critical_phase.reports import write_index

        result(str(write_index(path)))
        return
    run = open_run(path)
    if watch:
        count = watch_run(run.path, output, every=2.0 if every is None else every, limit=limit)
        result(f"{count} pages written; the watch has ended")
        return
    result(str(_write(run.path, output)))
