"""`probe validate`: check stored files against the format document and the manifest."""

import json
from pathlib import Path

import click

from critical_phase.checkpoints import file_sha256
from critical_phase.cli.console import result
from critical_phase.cli.unfinished import unfinished_training
from critical_phase.errors import InputError, StoreError
from critical_phase.probes import validate


def files_below(path: Path) -> list[Path]:
    """List the HDF5 files of a run, or the one file that was named.

    Raises:
        InputError: There is none.
    """
    files = [path] if path.is_file() else sorted(path.rglob("step-*.h5"))
    if files:
        return files
    if (stopped := unfinished_training(path)) is not None:
        raise stopped
    raise InputError(
        "no stored file here yet: what is checked are scores, activations and effects",
        where=str(path),
        fix=f"probe collect {path} stores some; probe checkpoints {path} lists adapters",
    )


def noted_hashes(run: Path) -> dict[Path, str]:
    """Read the hash of every finished file from the manifests of a run and its contexts."""
    noted: dict[Path, str] = {}
    for manifest in sorted(run.rglob("manifest.jsonl")):
        for line in manifest.read_text(encoding="utf-8").split("\n"):
            try:
                entry = json.loads(line)
                noted[manifest.parent / entry["file"]] = entry["sha256"]
            except (json.JSONDecodeError, KeyError, TypeError):
                continue  # a line cut short by a crash: its file is checked by its content alone
    return noted


def check_file(file: Path, noted: dict[Path, str]) -> None:
    """Read one file in full.

    Raises:
        StoreError: The content breaks the format, or is not what was written.
    """
    validate(file)
    if file in noted and file_sha256(file) != noted[file]:
        raise StoreError(
            "the file is not the one that was written: its hash differs from the manifest's",
            where=str(file),
            fix="delete the file and run probe collect again",
        )


@click.command("validate")
@click.argument("path", type=click.Path(path_type=Path))
@click.pass_context
def command(ctx: click.Context, *, path: Path) -> None:
    """Read every stored file below PATH in full and check it."""
    faults = 0
    files = files_below(path)
    noted = noted_hashes(path)
    for file in files:
        try:
            check_file(file, noted)
        except StoreError as error:
            faults += 1
            result(f"{error}")
    checked = f", {len(noted)} hashes compared" if noted else ", no manifest to compare with"
    result(f"{len(files) - faults} of {len(files)} files are sound{checked}")
    ctx.exit(InputError.exit_code if faults else 0)
