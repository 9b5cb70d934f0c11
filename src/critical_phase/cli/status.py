"""`probe status`: which units of a run are done, missing or failed."""

from dataclasses import asdict, dataclass
from pathlib import Path

import click

from critical_phase.cli.console import brief_steps, result, result_json
from critical_phase.cli.run_folder import RunFolder, open_run
from critical_phase.cli.series_files import known_steps


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
    effects: tuple[int, ...]
    """Steps with side effects."""
    missing: tuple[int, ...]
    """Steps with an adapter and no scores."""


def run_status(run: RunFolder) -> tuple[HeadStatus, ...]:
    """Say for every head which steps are saved, scored and recorded."""
    kinds = ("heads", "scores", "effects")
    found = {p.name for kind in kinds for p in (run.path / kind).glob("*") if p.is_dir()}
    return tuple(_head_status(run, head) for head in sorted({*found, *run.known_heads()}))


def _head_status(run: RunFolder, head: str) -> HeadStatus:
    saved = known_steps(run, head) if head in run.known_heads() else ()
    scored = _steps(run.path / "scores" / head)
    missing = tuple(step for step in saved if step not in scored)
    activations, effects = (_steps(run.path / k / head) for k in ("activations", "effects"))
    return HeadStatus(head, saved, scored, activations, effects, missing)


def context_counts(run: RunFolder) -> dict[str, int]:
    """Count the scores files of every context, another task among them."""
    folders = sorted(path for path in (run.path / "contexts").glob("*") if path.is_dir())
    return {path.name: len(list(path.glob("scores/*/step-????????.h5"))) for path in folders}


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
    folders = (run.path, *(run.path / "contexts").glob("*"))
    failed = sorted(file.stem for folder in folders for file in folder.glob("failed/*.json"))
    contexts = context_counts(run)
    size = size_bytes(run.path)
    if as_json:
        values = {"heads": [asdict(head) for head in heads], "failed": failed, "bytes": size}
        result_json({"schema_version": 1, "contexts": contexts, **values})
        return
    for head in heads:
        missing = f", missing {brief_steps(head.missing)}" if head.missing else ""
        result(
            f"{head.head:10} {len(head.saved):>4} saved {len(head.scored):>4} scored "
            f"{len(head.activations):>4} with activations {len(head.effects):>4} with effects"
            f"{missing}"
        )
    for name, count in contexts.items():
        result(f"context {name}: {count} scored")
    for name in failed:
        result(f"failed: {name}")
    done = (run.analysis / "findings.json").is_file()
    result(f"analysis: {'done' if done else f'missing (probe analyze {path})'}")
    result(f"disk: {size / 1e6:.1f} MB")
