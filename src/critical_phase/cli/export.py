"""`probe export`: plain copies of stored files that others can read."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

import click

from critical_phase.atomic import new_file
from critical_phase.checkpoints import select_steps
from critical_phase.cli.collect import PARTIAL
from critical_phase.cli.console import bar, result, result_json
from critical_phase.cli.run_folder import BASE, open_run
from critical_phase.cli.validate import files_below
from critical_phase.errors import ConfigError, StoreError
from critical_phase.probes import Exported, export_file


def chosen_files(run: Path, heads: Sequence[str], checkpoints: str) -> list[Path]:
    """List the stored files of some heads and steps, those of contexts among them.

    Args:
        run: The run folder.
        heads: Heads to take; empty for all. The base belongs to every choice.
        checkpoints: Which of their stored steps.

    Raises:
        ConfigError: A head or step is not stored.
    """
    files = files_below(run)
    stored = sorted({file.parent.name for file in files})
    if unknown := [head for head in heads if head not in stored]:
        near = get_close_matches(unknown[0], stored, n=1)
        raise ConfigError(
            f"nothing is stored of {', '.join(unknown)}; stored: {', '.join(stored)}",
            where=str(run),
            fix=f"did you mean {near[0]!r}?" if near else "name one of these with --heads",
        )
    mine = [f for f in files if f.parent.name in (*(heads or stored), BASE)]
    trained = {_step(file) for file in mine if file.parent.name != BASE}
    steps = set(select_steps(checkpoints, sorted(trained or {0})))
    return [f for f in mine if f.parent.name == BASE or _step(f) in steps]


def copy_tables(run: Path, to: Path, files: Iterable[Path]) -> int:
    """Copy the plan of every folder of rows that was exported; an equal one is left alone.

    Raises:
        StoreError: Another plan is in the way.
    """
    folders = sorted({file.parent.parent.parent for file in files})
    copied = 0
    for plan in [folder / "plan.csv" for folder in folders if (folder / "plan.csv").is_file()]:
        target = to / plan.relative_to(run)
        if target.is_file() and target.read_bytes() == plan.read_bytes():
            continue
        if target.exists():
            raise StoreError(
                "the plan of another run is in the way", where=str(target), fix="give another --to"
            )
        with new_file(target) as temporary:
            temporary.write_bytes(plan.read_bytes())
        copied += 1
    return copied


def export_run(
    run: Path,
    to: Path,
    form: str,
    files: Sequence[Path],
    *,
    datasets: Sequence[str] = (),
    dtype: str = "float32",
    overwrite: bool = False,
) -> tuple[list[Exported], list[StoreError]]:
    """Export files to the same places below another folder; a damaged one costs no other."""
    made, failed = [], []
    with bar("export", len(files)) as update:
        for count, file in enumerate(files):
            target = to / file.relative_to(run).with_suffix("")
            try:
                made.append(
                    export_file(
                        file, target, form, datasets=datasets, dtype=dtype, overwrite=overwrite
                    )
                )
            except StoreError as error:
                failed.append(error)
            update(count + 1)
    return made, failed


def _step(file: Path) -> int:
    return int(file.stem.removeprefix("step-").partition(".")[0])


def _parts(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def export_command(
    ctx: click.Context,
    /,
    *,
    path: Path,
    to: Path,
    form: str,
    dtype: str,
    datasets: str | None,
    heads: str | None,
    checkpoints: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Copy the stored files of the run at PATH without bfloat16, for other readers.

    Values are equal to the stored ones. Repeat the command to continue after an interruption.
    """
    run = open_run(path).path
    if to.resolve().is_relative_to(run.resolve()):
        raise ConfigError(
            "the copies would lie among the run's own files",
            where=str(to),
            fix="give --to a folder beside the run",
        )
    files = chosen_files(run, _parts(heads), checkpoints)
    copy_tables(run, to, files)
    made, failed = export_run(
        run, to, form, files, datasets=_parts(datasets), dtype=dtype, overwrite=overwrite
    )
    counts = {s: sum(one.status == s for one in made) for s in ("done", "existing", "nothing")}
    if counts["nothing"] == len(files):
        raise ConfigError(
            f"no file has a dataset {datasets!r}",
            where=str(run),
            fix="probe validate --json lists the datasets of every file",
        )
    size = sum(one.size_bytes for one in made)
    if as_json:
        faults = [str(error) for error in failed]
        result_json({"schema_version": 1, **counts, "failed": faults, "bytes": size})
    else:
        for error in failed:
            result(str(error))
        left = f", without these datasets {counts['nothing']}" if counts["nothing"] else ""
        result(
            f"exported {counts['done']}, existing {counts['existing']}, failed {len(failed)}"
            f"{left}: {to} ({size / 1e6:.1f} MB)"
        )
    if failed:
        ctx.exit(PARTIAL)
