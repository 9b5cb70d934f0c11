"""The checkpoints of a run's heads, trained here or made elsewhere (series.json)."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from critical_phase.atomic import alone, write_json
from critical_phase.checkpoints import (
    Checkpoint,
    CheckpointSource,
    Series,
    list_series,
    open_source,
    read_series,
    select_steps,
)
from critical_phase.checkpoints.hub_files import split_revision
from critical_phase.cli.run_folder import RunFolder, elsewhere_of
from critical_phase.errors import CheckpointError
from critical_phase.probes import Unit


def write_elsewhere(run: RunFolder, heads: Mapping[str, Mapping[str, Any]]) -> None:
    """Note where the checkpoints of heads made elsewhere are."""
    write_json(
        run.series_file, {"schema_version": 1, "heads": {h: dict(e) for h, e in heads.items()}}
    )


def head_entry(source: CheckpointSource, adapter_name: str | None) -> dict[str, Any]:
    """Describe a source so that it can be opened again."""
    return {
        "location": source.location,
        "kind": source.kind,
        "adapter_name": adapter_name,
        "checkpoints": {},
    }


def known_series(run: RunFolder, head: str) -> Series:
    """Hash the checkpoints of a head; of revisions on the hub, those that were collected.

    Raises:
        CheckpointError: No such head, or its checkpoints are gone or damaged.
    """
    if run.head(head).is_dir():
        return list_series(run.head(head))
    entry = _entry(run, head)
    if split_revision(entry["location"]) is None:
        return read_series(open_source(entry["location"], adapter_name=entry["adapter_name"]))
    noted = {int(step): value for step, value in entry["checkpoints"].items()}
    return Series(
        tuple(
            Checkpoint(step, Path(noted[step]["path"]), noted[step]["sha256"], "full")
            for step in sorted(noted)
        ),
        (),
    )


def known_steps(run: RunFolder, head: str) -> tuple[int, ...]:
    """List the steps of a head without reading any weights.

    Raises:
        CheckpointError: No such head, or its checkpoints are gone.
    """
    if run.head(head).is_dir():
        return list_series(run.head(head)).steps
    entry = _entry(run, head)
    if split_revision(entry["location"]) is not None:
        return tuple(sorted(int(step) for step in entry["checkpoints"]))
    return open_source(entry["location"], adapter_name=entry["adapter_name"]).steps


def choose_series(run: RunFolder, head: str, expression: str, *, fetch: bool) -> Series:
    """Choose steps of a head and hash them; revisions on the hub are downloaded now.

    Args:
        run: Run folder.
        head: Trained here or made elsewhere.
        expression: Steps in the grammar of --checkpoints.
        fetch: False leaves full weights unread, for a dry run.

    Raises:
        ConfigError: A step that is not there.
        CheckpointError: Checkpoints are gone, damaged, or cannot be fetched.
    """
    if run.head(head).is_dir():
        series = list_series(run.head(head))
        return _chosen(series, select_steps(expression, series.steps))
    entry = _entry(run, head)
    source = open_source(entry["location"], adapter_name=entry["adapter_name"])
    steps = select_steps(expression, source.steps)
    if source.kind == "adapter":  # small: hash all, so that duplicates are seen
        return _chosen(read_series(source), steps)
    if fetch:
        return read_series(source, steps)
    unread = tuple(Checkpoint(step, Path(source.location), "", "full") for step in steps)
    return Series(unread, source.warnings)


def note_collected(run: RunFolder, units: Iterable[Unit]) -> None:
    """Note hash and place of every checkpoint made elsewhere that is collected now."""
    with alone(run.path):
        heads = elsewhere_of(run)
        for unit in units:
            item = unit.checkpoint
            if unit.head in heads and item is not None:
                noted = heads[unit.head].setdefault("checkpoints", {})
                noted[str(unit.step)] = {"sha256": item.sha256, "path": str(item.path)}
        if heads:
            write_elsewhere(run, heads)


def _chosen(series: Series, steps: Sequence[int]) -> Series:
    return Series(tuple(series.at(step) for step in steps), series.warnings)


def _entry(run: RunFolder, head: str) -> dict[str, Any]:
    entry = elsewhere_of(run).get(head)
    if entry is None:
        raise CheckpointError(
            f"the run has no checkpoints of a head {head!r}",
            where=str(run.path),
            fix=f"it has: {', '.join(run.known_heads()) or 'none'}",
        )
    return entry
