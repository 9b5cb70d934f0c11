"""manifest.jsonl: one line per finished file, with its hash; only ever appended to.

Several processes may append at once. Each line is one write under a lock that the system
gives up when its holder is killed, after a look at how the file ends now: a line that
another process left cut short is closed first and costs no other line.
"""

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from critical_phase.atomic import disk_error
from critical_phase.checkpoints import file_sha256
from critical_phase.probes.reading import dataset_names, opened, read_array, read_axes
from critical_phase.probes.units import Unit, key_hash


class Manifest:
    """Knows which files are listed and adds those that are not."""

    def __init__(self, path: Path, command: str = "collect") -> None:
        """Read what is listed; a line cut short by a crash is skipped."""
        self._path, self._command = path, command
        self._listed: dict[tuple[str, str], str] = {}
        self._read_bytes = 0
        self._whole = True
        self._thread_lock = threading.Lock()  # for file systems without locks
        if path.exists():
            with path.open("rb") as file:
                self._read_new(file.fileno())

    def ensure(self, kind: str, unit: Unit, path: Path, key: Mapping[str, Any]) -> None:
        """List a file that was found finished, unless it is listed under this key already.

        A file that no line vouches for is read in full first: a kill came before its line,
        or the manifest was deleted, and damage must not be listed as if it were sound.

        Raises:
            StoreError: The file is damaged, or the line cannot be written.
        """
        if self._place(path, key) not in self._listed:
            _read_through(path)
            self.add(kind, unit, path, key)

    def add(self, kind: str, unit: Unit, path: Path, key: Mapping[str, Any]) -> None:
        """List a file that was just written, unless the very same content is listed already.

        Raises:
            StoreError: The line cannot be written.
        """
        place = self._place(path, key)
        try:
            seen, digest = _identity(path), file_sha256(path)
            with self._thread_lock, self._held() as descriptor:
                if _identity(path) != seen:  # another process replaced it meanwhile
                    digest = file_sha256(path)
                if self._listed.get(place) == digest:
                    return
                entry = {
                    "schema_version": 1,
                    "command": self._command,
                    "kind": kind,
                    "head": unit.head,
                    "step": unit.step,
                    "file": place[0],
                    "key": place[1],
                    "sha256": digest,
                    "bytes": path.stat().st_size,
                }
                self._append(descriptor, json.dumps(entry, sort_keys=True) + "\n")
        except OSError as error:
            raise disk_error(error, self._path) from error

    def _place(self, path: Path, key: Mapping[str, Any]) -> tuple[str, str]:
        return path.relative_to(self._path.parent).as_posix(), key_hash(key)

    @contextlib.contextmanager
    def _held(self) -> Iterator[int]:
        """Open the manifest for this process alone and read what others added."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            # Some network file systems know no locks: there the one write must be enough.
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._read_new(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    def _read_new(self, descriptor: int) -> None:
        """Note lines from where the last look ended; a last line that is cut stays unread."""
        if os.fstat(descriptor).st_size < self._read_bytes:  # deleted and begun again
            self._listed.clear()
            self._read_bytes = 0
        os.lseek(descriptor, self._read_bytes, os.SEEK_SET)
        with os.fdopen(os.dup(descriptor), "rb") as file:
            content = file.read()
        whole, _, rest = content.rpartition(b"\n")
        self._whole = not rest
        self._read_bytes += len(content) - len(rest)
        for line in filter(None, whole.split(b"\n")):
            try:
                entry = json.loads(line)
                self._listed[entry["file"], entry["key"]] = entry["sha256"]
            except (ValueError, KeyError, TypeError):
                continue

    def _append(self, descriptor: int, line: str) -> None:
        data = (line if self._whole else "\n" + line).encode()
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)


def _identity(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read_through(path: Path) -> None:
    """Read every dataset, which checks every checksum.

    Raises:
        StoreError: The file is damaged.
    """
    with opened(path) as file:
        read_axes(file)
        for name in dataset_names(file):
            read_array(file, path, name)
