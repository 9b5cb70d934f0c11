"""Where a series of checkpoints comes from: a folder, or the revisions of a model on the hub."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from critical_phase.checkpoints.adapter_settings import setting_changes
from critical_phase.checkpoints.first_step import first_step
from critical_phase.checkpoints.folders import Kind, SavedStep, list_folder
from critical_phase.checkpoints.hub_files import split_revision
from critical_phase.checkpoints.hub_revisions import HubRevisions
from critical_phase.checkpoints.series import (
    IDENTITY,
    Checkpoint,
    Series,
    adapter_config,
    adapter_identity,
    duplicates,
    hash_checkpoint,
)
from critical_phase.errors import CheckpointError

_OF_THE_STEP = ("step", "save_at", "source_sha256", "examples", "lr", "loss")
"""What a note says about one checkpoint, not about the training it belongs to."""


@runtime_checkable
class CheckpointSource(Protocol):
    """A series whose steps are known before any weights are read."""

    location: str
    """Absolute path of a folder, or name and pattern of revisions on the hub."""
    kind: Kind
    """Adapters or full weights."""
    warnings: tuple[str, ...]
    """What is odd about the series, one sentence each."""

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps that can be had, ascending."""

    @property
    def base_model(self) -> str | None:
        """Name of the base that the checkpoints themselves give."""

    def checkpoint(self, step: int) -> Checkpoint:
        """Fetch and hash the weights of one step."""

    def cached(self, step: int) -> Checkpoint | None:
        """Hash the weights of one step without fetching anything."""


class FolderSource:
    """A folder of checkpoints that any trainer wrote: adapters or full weights."""

    def __init__(self, folder: Path, *, adapter_name: str | None = None) -> None:
        """List the folder; step 0 of adapters is the base where they start without effect.

        Raises:
            CheckpointError: No complete checkpoint, two kinds, or adapters whose start
                changed the base.
            ConfigError: Several named adapters and none chosen.
        """
        listing = list_folder(folder, adapter_name=adapter_name)
        self.location = str(folder.resolve())
        self.kind: Kind = listing.saved[0].kind
        self._saved = {saved.step: saved for saved in listing.saved}
        earliest = listing.saved[0]
        self._first, about = first_step(_unhashed(earliest))
        changes: list[str] = []
        if self.kind == "adapter":
            changes = setting_changes([_unhashed(saved) for saved in listing.saved])
        self.warnings: tuple[str, ...] = (
            *listing.skipped,
            *changes,
            *_several_trainings(listing.saved),
            *([about] if about else []),
        )

    @property
    def steps(self) -> tuple[int, ...]:
        """Saved steps, and 0 where the base stands for it."""
        return tuple(sorted({*self._saved, *([0] if self._first else [])}))

    @property
    def base_model(self) -> str | None:
        """Read what the newest adapter names as its base, or take full weights of step 0."""
        newest = self._saved[max(self._saved)]
        if self.kind == "adapter":
            return adapter_config(newest.path).get("base_model_name_or_path") or None
        return str(self._saved[0].path) if 0 in self._saved else None

    def checkpoint(self, step: int) -> Checkpoint:
        """Hash the weights of one step.

        Raises:
            CheckpointError: There is no such step, or its files are damaged.
        """
        if step == 0 and self._first is not None:
            return self._first
        if step not in self._saved:
            raise CheckpointError(f"no checkpoint at step {step}; saved: {self.steps}")
        return hash_checkpoint(self._saved[step])

    def cached(self, step: int) -> Checkpoint | None:
        """Hash the weights of one step: a folder has them all."""
        return self.checkpoint(step)


def open_source(location: str, *, adapter_name: str | None = None) -> CheckpointSource:
    """Find out what a location is and list its steps.

    Args:
        location: A folder, or `owner/name@pattern` on the hub.
        adapter_name: Which adapter, where checkpoints hold several.

    Raises:
        CheckpointError: Nothing there that could be read.
        ConfigError: Several named adapters and none chosen.
    """
    folder = Path(location).expanduser()
    if not folder.exists() and split_revision(location) is not None:
        return HubRevisions(location)
    return FolderSource(folder, adapter_name=adapter_name)


def read_series(source: CheckpointSource, steps: Iterable[int] | None = None) -> Series:
    """Fetch and hash the steps of a source, all where none are chosen.

    Raises:
        CheckpointError: A step cannot be had.
    """
    chosen = source.steps if steps is None else steps
    checkpoints = tuple(source.checkpoint(step) for step in sorted(set(chosen)))
    return Series(checkpoints, (*source.warnings, *duplicates(checkpoints)))


def _several_trainings(saved: Iterable[SavedStep]) -> list[str]:
    """Say where the notes beside the weights name more than one training in a folder."""
    steps: dict[str, list[int]] = {}
    for item in saved:
        home = item.path if (item.path / IDENTITY).is_file() else item.path.parent
        if training := _training(adapter_identity(home) or {}):
            steps.setdefault(training, []).append(item.step)
    if len(steps) < 2:
        return []
    parts = "; ".join(", ".join(map(str, one)) for one in steps.values())
    return [f"the folder mixes checkpoints of {len(steps)} trainings: steps {parts}"]


def _training(note: Mapping[str, Any]) -> str:
    """Tell trainings apart: by the callback's mark, or by what `probe train` noted."""
    if "training" in note:
        return str(note["training"])
    kept = {key: value for key, value in note.items() if key not in _OF_THE_STEP}
    return json.dumps(kept, sort_keys=True) if "recipe" in note else ""


def _unhashed(saved: SavedStep) -> Checkpoint:
    return Checkpoint(saved.step, saved.path, "", saved.kind)
