"""`probe status`: which units of a run are done, missing or failed."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from critical_phase.cli.console import brief_steps, result, result_json
from critical_phase.cli.run_folder import BASE, RunFolder, open_run, read_record
from critical_phase.cli.up_to_date import (
    analysis_line,
    analysis_state,
    report_line,
    report_state,
)

if TYPE_CHECKING:
    from critical_phase.probes.leftovers import Leftover

STORED = ("scores", "activations", "effects")


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
    """Steps with an adapter and no scores; in a context, those that were asked for there."""
    missing_activations: tuple[int, ...]
    """Steps with scores and no activations, where the head has activations at other steps."""
    failed: tuple[int, ...]
    """Steps at which a unit failed and was not repaired."""
    bytes: int
    """Size of the head's scores, activations and effects."""


def run_status(run: RunFolder) -> tuple[HeadStatus, ...]:
    """Say for every head which steps are saved, scored and recorded."""
    from critical_phase.cli.series_files import known_steps  # loads torch

    kinds = ("heads", *STORED)
    found = {p.name for kind in kinds for p in (run.path / kind).glob("*") if p.is_dir()}
    made = []
    for head in sorted({BASE, *found, *run.known_heads()}):
        saved = known_steps(run, head) if head in run.known_heads() else ()
        made.append(_head_status(run.path, head, saved, (0,) if head == BASE else saved))
    return tuple(made)


def context_status(run: RunFolder) -> dict[str, tuple[HeadStatus, ...]]:
    """Say for every context, another task among them, which of the steps asked for are scored.

    Of contexts that do not note what was asked for, the run's own scored steps are wanted.
    """
    noted = read_record(run).get("contexts", {}) if run.record.is_file() else {}
    folders = sorted(path for path in (run.path / "contexts").glob("*") if path.is_dir())
    scored = {p.name: _steps(p) for p in sorted((run.path / "scores").glob("*")) if p.is_dir()}
    return {
        folder.name: tuple(
            _head_status(folder, head, (), tuple(wanted.get(head, ())))
            for wanted in [noted.get(folder.name, {}).get("steps", scored)]
            for head in sorted({*scored, *(p.name for p in (folder / "scores").glob("*"))})
        )
        for folder in folders
    }


def failed_units(folder: Path) -> tuple[str, ...]:
    """Name the units of a run or a context that failed, such as `collect-base-step-00000000`."""
    return tuple(sorted(file.stem for file in folder.glob("failed/*.json")))


def size_bytes(path: Path) -> int:
    """Add up the sizes of all files below a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _head_status(
    folder: Path, head: str, saved: tuple[int, ...], wanted: tuple[int, ...]
) -> HeadStatus:
    scored, activations, effects = (_steps(folder / kind / head) for kind in STORED)
    unit = re.compile(rf"[a-z]+-{re.escape(head)}-step-(\d{{8}})")
    failed = {int(m[1]) for name in failed_units(folder) if (m := unit.fullmatch(name))}
    return HeadStatus(
        head=head,
        saved=saved,
        scored=scored,
        activations=activations,
        effects=effects,
        missing=tuple(step for step in wanted if step not in scored),
        missing_activations=tuple(s for s in scored if activations and s not in activations),
        failed=tuple(sorted(failed)),
        bytes=sum(size_bytes(folder / kind / head) for kind in STORED),
    )


def _steps(folder: Path) -> tuple[int, ...]:
    return tuple(sorted(int(p.stem.removeprefix("step-")) for p in folder.glob("step-????????.h5")))


def lines(heads: tuple[HeadStatus, ...]) -> list[str]:
    """Write one line per head: what there is, and what is missing or failed."""
    made = []
    for head in heads:
        gaps = {
            "missing": head.missing,
            "without activations at": head.missing_activations,
            "failed": head.failed,
        }
        tail = "".join(f", {name} {_steps_named(s)}" for name, s in gaps.items() if s)
        made.append(
            f"{head.head:10} {len(head.saved):>4} saved {len(head.scored):>4} scored "
            f"{len(head.activations):>4} with activations {len(head.effects):>4} with effects "
            f"{head.bytes / 1e6:>9.1f} MB{tail}"
        )
    return made


def context_line(name: str, heads: tuple[HeadStatus, ...]) -> str:
    """Write what one context has in one line."""
    gaps = [
        f", {head.head} {word} {_steps_named(steps)}"
        for head in heads
        for word, steps in (("missing", head.missing), ("failed", head.failed))
        if steps
    ]
    size = sum(head.bytes for head in heads) / 1e6
    return f"context {name}: {_scored(heads)} scored, {size:.1f} MB{''.join(gaps)}"


def leftover_line(found: "Leftover") -> str:
    """Name what another machine left half-written, and what to do about it."""
    from critical_phase.probes.leftovers import DAY_S

    return (
        f"left over: {found.path}: half-written by another machine {found.age_s / DAY_S:.0f} days "
        "ago; delete it if nothing runs there any more"
    )


def _steps_named(steps: tuple[int, ...]) -> str:
    """Say that the numbers are steps: `missing 0` reads as if nothing were missing."""
    return f"step{'s' if len(steps) > 1 else ''} {brief_steps(steps)}"


def _scored(heads: tuple[HeadStatus, ...]) -> int:
    return sum(len(head.scored) for head in heads)


@click.command("status")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(*, path: Path, as_json: bool) -> None:
    """Show which units of the run at PATH are done, missing or failed."""
    from critical_phase.probes.leftovers import left_elsewhere

    run = open_run(path)
    heads = run_status(run)
    contexts = context_status(run)
    folders = (run.path, *(run.path / "contexts" / name for name in contexts))
    failed = sorted(name for folder in folders for name in failed_units(folder))
    leftovers = left_elsewhere(run.path)
    size = size_bytes(run.path)
    if as_json:
        values = {"heads": [asdict(head) for head in heads], "failed": failed, "bytes": size}
        result_json(
            {
                "schema_version": 1,
                "contexts": {name: _scored(found) for name, found in contexts.items()},
                "context_heads": {n: [asdict(h) for h in found] for n, found in contexts.items()},
                "analysis": analysis_state(run)[0],
                "report": report_state(run),
                "leftovers": [str(one.path) for one in leftovers],
                **values,
            }
        )
        return
    for line in [*lines(heads), *(context_line(n, found) for n, found in contexts.items())]:
        result(line)
    for name in failed:
        result(f"failed: {name}")
    for one in leftovers:
        result(leftover_line(one))
    if not _scored(heads):
        result(f"collection: missing (probe collect {path})")
    for line in filter(None, (analysis_line(run), report_line(run))):
        result(line)
    result(f"disk: {size / 1e6:.1f} MB")
