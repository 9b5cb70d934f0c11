"""Scores of cells that were measured, kept while a plan runs so that it can go on."""

import json
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from critical_phase.atomic import new_file
from critical_phase.errors import StoreError

_KEY = "key"
_PATIENCE = 20.0
"""Writing takes at most one part in this many of the time."""


class CellsFile:
    """One npz with the scores of each cell under its name."""

    def __init__(self, path: Path, key: str, *, overwrite: bool = False) -> None:
        """Open what is there.

        Args:
            path: Of the file.
            key: Everything that decides the scores, as text.
            overwrite: Forget what was measured in another way.

        Raises:
            StoreError: The file is damaged, or was made in another way.
        """
        self._path, self._key = path, key
        self._scores: dict[str, np.ndarray] = {}
        self._fresh, self._written, self._cost = False, time.monotonic(), 0.0
        if path.exists():
            found = _read(path, overwrite=overwrite)
            if found is not None and found.pop(_KEY, None) == key:
                self._scores = {str(name): values for name, values in found.items()}  # type: ignore[misc]
            elif not overwrite:
                raise StoreError(
                    "cells measured in another way are in the way",
                    where=str(path),
                    fix="repeat the earlier settings, or give --overwrite",
                )

    def __contains__(self, name: str) -> bool:
        """Tell whether a cell was measured."""
        return name in self._scores

    def __getitem__(self, name: str) -> Float[np.ndarray, " row"]:
        """Return the scores of a cell."""
        return self._scores[name]

    def put(self, name: str, scores: Float[np.ndarray, " row"]) -> None:
        """Keep the scores of a cell; they are on disk after some seconds, or `flush`."""
        self._scores[name] = scores
        self._fresh = True
        if time.monotonic() - self._written > max(10.0, _PATIENCE * self._cost):
            self.flush()

    def flush(self) -> None:
        """Write what is not on disk yet.

        Raises:
            StoreError: The disk is full.
        """
        if not self._fresh:
            return
        begin = time.monotonic()
        write_arrays(self._path, {_KEY: np.array(self._key), **self._scores})
        self._fresh, self._written = False, time.monotonic()
        self._cost = self._written - begin

    def remove(self) -> None:
        """Take the file away, once its content is in another one."""
        self._path.unlink(missing_ok=True)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name as npz, at once or not at all; names may hold slashes.

    Raises:
        StoreError: The disk is full.
    """
    with new_file(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        for name in arrays:
            # A date of its own in every entry would give equal results other bytes.
            entry = zipfile.ZipInfo(name.replace("/", "|") + ".npy", (1980, 1, 1, 0, 0, 0))
            with file.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asanyarray(arrays[name]), allow_pickle=False)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read what `write_arrays` wrote.

    Raises:
        StoreError: The file is missing or damaged.
    """
    try:
        # A damaged file that numpy opened itself would stay open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name.replace("|", "/"): file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, KeyError, EOFError) as error:
        raise StoreError(
            f"cannot read the scores of interventions: {error}",
            where=str(path),
            fix="delete it, and repeat the intervention",
        ) from error


def as_key(settings: Mapping[str, object]) -> str:
    """Write settings as one text that is equal where they are."""
    return json.dumps(settings, sort_keys=True, allow_nan=False)


def _read(path: Path, *, overwrite: bool) -> dict[str, object] | None:
    try:
        found: dict[str, object] = dict(read_arrays(path))
    except StoreError:
        if overwrite:
            return None
        raise
    key = found.get(_KEY)
    return found | {_KEY: str(key)} if isinstance(key, np.ndarray) else found
