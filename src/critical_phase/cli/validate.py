"""`probe validate`: check stored files against the format document and the manifest."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from critical_phase.cli.console import result, result_json
from critical_phase.cli.unfinished import unfinished_training
from critical_phase.errors import InputError

if TYPE_CHECKING:
    from critical_phase.probes import Checked, FileSummary

PROBLEMS = 1


def files_below(path: Path) -> list[Path]:
    """List the HDF5 files of a run, or the one file that was named.

    Raises:
        InputError: There is none.
    """
    from critical_phase.probes import stored_files  # loads torch, which --help does without

    if files := stored_files(path):
        return files
    if (stopped := unfinished_training(path)) is not None:
        raise stopped
    raise InputError(
        "no stored file here yet: what is checked are scores, activations and effects",
        where=str(path),
        fix=f"probe collect {path} stores some; probe checkpoints {path} lists adapters",
    )


def lines(checked: "Checked", adapters: int = 0) -> list[str]:
    """Write one line for every fault, then what was checked.

    Args:
        checked: What was found.
        adapters: Saved adapters that were compared with the files collected from them.
    """
    made = [f"{one.file}: {one.problem}: {one.message}" for one in checked.faults]
    made += [
        f"{one.path}: {one.non_finite} values are not finite, as the file states"
        for one in checked.sound
        if one.non_finite
    ]
    if checked.unlisted:
        made.append(f"{len(checked.unlisted)} sound files are in no manifest: collect lists them")
    if checked.gone:
        made.append(f"{len(checked.gone)} listed files are not there: see probe status")
    hashes = f"{checked.hashes} hashes compared" if checked.hashes else "no hash to compare with"
    if adapters:
        hashes += f", {adapters} adapters compared"
    return [*made, f"{len(checked.sound)} of {checked.files} files are sound, {hashes}"]


def to_json(checked: "Checked", adapters: int = 0) -> dict[str, Any]:
    """Turn what was found into one object for scripts."""
    return {
        "schema_version": 1,
        "sound": [_summary(one) for one in checked.sound],
        "problems": [
            {"file": str(one.file), "problem": one.problem, "message": one.message}
            for one in checked.faults
        ],
        "hashes_compared": checked.hashes,
        "adapters_compared": adapters,
        "not_in_a_manifest": [str(file) for file in checked.unlisted],
        "listed_and_gone": [str(file) for file in checked.gone],
    }


def _summary(one: "FileSummary") -> dict[str, Any]:
    return asdict(one) | {"path": str(one.path)}


@click.command("validate")
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(ctx: click.Context, *, paths: Sequence[Path], as_json: bool) -> None:
    """Read the stored files of runs, or single files, in full and check them.

    One line names each file that is damaged, half-written, foreign or not the one that was
    written, and each saved adapter that is not the one its files were collected from. Exit
    code 1 if there is any.
    """
    from critical_phase.cli.changed_adapters import changed_adapters
    from critical_phase.probes import check_paths

    for path in paths:
        files_below(path)
    checked = check_paths(paths)
    faults, adapters = changed_adapters(one.path for one in checked.sound)
    checked = replace(checked, faults=(*checked.faults, *faults))
    if as_json:
        result_json(to_json(checked, adapters))
    else:
        for line in lines(checked, adapters):
            result(line)
    ctx.exit(PROBLEMS if checked.faults else 0)
