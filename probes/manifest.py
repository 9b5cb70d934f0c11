"""manifest.jsonl: one line per finished file, with its hash; only ever appended to."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from critical_phase.atomic import disk_error
from critical_phase.checkpoints import file_sha256
from critical_phase.probes.units import Unit, key_hash


class Manifest:
    """Knows which files are listed and adds those that are not."""

    def __init__(self, path: Path, command: str = "collect") -> None:
        """Read what is listed; a line cut short by a crash is skipped."""
        self._path, self._command = path, command
        self._listed: set[tuple[str, str]] = set()
        lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
        self._whole = not lines or lines[-1] == ""
        for line in filter(None, lines):
            try:
                entry = json.loads(line)
                self._listed.add((entry["file"], entry["key"]))
            except (json.JSONDecodeError, KeyError, TypeError):
                continue

    def ensure(self, kind: str, unit: Unit, path: Path, key: Mapping[str, Any]) -> None:
        """List a finished file unless it is listed under this key already.

        Raises:
            StoreError: The line cannot be written.
        """
        name, digest = path.relative_to(self._path.parent).as_posix(), key_hash(key)
        if (name, digest) in self._listed:
            return
        entry = {
            "schema_version": 1,
            "command": self._command,
            "kind": kind,
            "head": unit.head,
            "step": unit.step,
            "file": name,
            "key": digest,
            "sha256": file_sha256(path),
            "bytes": path.stat().st_size,
        }
        self._append(json.dumps(entry, sort_keys=True) + "\n")
        self._listed.add((name, digest))

    def _append(self, line: str) -> None:
        text = line if self._whole else "\n" + line
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise disk_error(error, self._path) from error
        self._whole = True
