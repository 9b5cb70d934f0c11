"""A series that is published as revisions of one model, such as `EleutherAI/pythia-70m@step*`."""

import re
from fnmatch import fnmatchcase

from critical_phase.checkpoints.folders import Kind, SavedStep
from critical_phase.checkpoints.hub_files import (
    cached_revision,
    fetch_revision,
    list_revisions,
    split_revision,
)
from critical_phase.checkpoints.series import Checkpoint, hash_checkpoint
from critical_phase.errors import CheckpointError

_STEP = re.compile(r"(?:step|checkpoint)[-_]?(\d+)")


class HubRevisions:
    """The revisions of one model whose names hold a step; each is downloaded when it is used."""

    def __init__(self, location: str) -> None:
        """List the revisions, from the hub or, offline, from the local cache.

        Args:
            location: Name of the model, `@`, and a pattern of revisions with `*`.

        Raises:
            CheckpointError: No revision of this name holds a step, or none can be listed.
        """
        parts = split_revision(location)
        if parts is None:
            raise CheckpointError(
                f"{location!r} names no revisions", fix="write owner/name@step*, or give a folder"
            )
        self.location = location
        self.kind: Kind = "full"
        self._repo, pattern = parts
        names, notes = list_revisions(self._repo)
        self._revisions: dict[int, str] = {}
        skipped: list[str] = []
        for name in sorted(n for n in names if fnmatchcase(n, pattern)):
            match = _STEP.search(name)
            if match is None or int(match[1]) in self._revisions:
                why = "its name holds no step" if match is None else "its step is already given"
                skipped.append(f"skipped {name}: {why}")
            else:
                self._revisions[int(match[1])] = name
        self.warnings: tuple[str, ...] = (*notes, *skipped)
        if not self._revisions:
            raise CheckpointError(
                f"no revision of {self._repo!r} matches {pattern!r} and holds a step; "
                f"there are: {', '.join(names[:6])}{', ...' if names[6:] else ''}",
                fix="write a pattern such as step*; names must hold step<number>",
            )

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps that have a revision, ascending."""
        return tuple(sorted(self._revisions))

    @property
    def base_model(self) -> str | None:
        """Take the earliest revision as the base."""
        return f"{self._repo}@{self._revisions[self.steps[0]]}"

    def checkpoint(self, step: int) -> Checkpoint:
        """Download the revision of one step, if need be, and hash its weights.

        Raises:
            CheckpointError: There is no such revision, or it cannot be fetched.
        """
        return hash_checkpoint(
            SavedStep(step, "full", fetch_revision(self._repo, self._name(step)))
        )

    def cached(self, step: int) -> Checkpoint | None:
        """Hash the weights of one step if they are on this disk already."""
        folder = cached_revision(self._repo, self._name(step))
        return None if folder is None else hash_checkpoint(SavedStep(step, "full", folder))

    def _name(self, step: int) -> str:
        if step not in self._revisions:
            raise CheckpointError(f"no revision for step {step}; there are: {self.steps}")
        return self._revisions[step]
