"""`probe status`: which units of a run are done, missing or failed."""

from dataclasses import asdict, dataclass
from pathlib import Path

import click

from critical_phase.checkpoints import list_series
from critical_phase.cli.console import brief_steps, result, result_json
from critical_phase.cli.run_folder import RunFolder, open_run


@dataclass(frozen=True, slots=True)
class HeadStatus:
    """How far one head is."""

    head: str
    saved: tuple[int, ...]
    """Steps with an adapter."""
    scored: tuple[int, ...]
    """Steps with scores."""
    activations: tuple[int, ...]
    """Steps with activations."""
    missing: tuple[int, ...]
    """Steps with an adapter and no scores."""


def run_status(run: RunFolder) -> tuple[HeadStatus, ...]:
    """Say for every head which steps are saved, scored and recorded."""
    heads = sorted(
        {path.name for kind in ("heads", "scores") for path in (run.path / kind).glob("*")}
    )
    return tuple(_head_status(run, head) for head in heads)


def _head_status(run: RunFolder, head: str) -> HeadStatus:
    folder = run.head(head)
    saved = list_series(folder).steps if folder.is_dir() else ()
    scored = _steps(run.path / "scores" / head)
    missing = tuple(step for step in saved if step not in scored)
    return HeadStatus(head, saved, scored, _steps(run.path / "activations" / head), missing)


def _steps(folder: Path) -> tuple[int, ...]:
    return tuple(sorted(int(p.stem.removeprefix("step-")) for p in folder.glob("step-????????.h5")))


def size_bytes(path: Path) -> int:
    """Add up the sizes of all files below a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


@click.command("status")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(*, path: Path, as_json: bool) -> None:
    """Show which units of the run at PATH are done, missing or failed."""
    run = open_run(path)
    heads = run_status(run)
    failed = sorted(file.stem for file in (run.path / "failed").glob("*.json"))
    size = size_bytes(run.path)
    if as_json:
        values = {"heads": [asdict(head) for head in heads], "failed": failed, "bytes": size}
        result_json({"schema_version": 1, **values})
        return
    for head in heads:
        missing = f", missing {brief_steps(head.missing)}" if head.missing else ""
        result(
            f"{head.head:10} {len(head.saved):>4} saved {len(head.scored):>4} scored "
            f"{len(head.activations):>4} with activations{missing}"
        )
    for name in failed:
        result(f"failed: {name}")
    done = (run.analysis / "findings.json").is_file()
    result(f"analysis: {'done' if done else f'missing (probe analyze {path})'}")
    result(f"disk: {size / 1e6:.1f} MB")
