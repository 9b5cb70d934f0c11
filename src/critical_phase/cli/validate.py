"""`probe validate`: check stored files against the format document."""

from pathlib import Path

import click

from critical_phase.cli.console import result
from critical_phase.errors import InputError, StoreError
from critical_phase.probes import validate


def files_below(path: Path) -> list[Path]:
    """List the HDF5 files of a run, or the one file that was named.

    Raises:
        InputError: There is none.
    """
    files = [path] if path.is_file() else sorted(path.rglob("step-*.h5"))
    if not files:
        raise InputError("no stored file here", where=str(path), fix=f"probe collect {path}")
    return files


@click.command("validate")
@click.argument("path", type=click.Path(path_type=Path))
@click.pass_context
def command(ctx: click.Context, *, path: Path) -> None:
    """Read every stored file below PATH in full and check it."""
    faults = 0
    files = files_below(path)
    for file in files:
        try:
            validate(file)
        except StoreError as error:
            faults += 1
            result(f"{error}")
    result(f"{len(files) - faults} of {len(files)} files are sound")
    ctx.exit(InputError.exit_code if faults else 0)
