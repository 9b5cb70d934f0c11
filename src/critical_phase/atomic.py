"""Write files so that a kill at any moment leaves the old file or the new one.

A temporary name in the same folder, fsync, rename, fsync of the folder. A final
name that exists is therefore complete.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from critical_phase.errors import StoreError


def temporary_name(path: Path) -> Path:
    """Name the hidden twin of `path` that only this process writes."""
    return path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make the bytes of a closed file durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Give a temporary path to write; publish it as `path` when the block ends well.

    Raises:
        StoreError: The disk is full or the folder cannot be written.
    """
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync_file(temporary)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise disk_error(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; publish it as `path` when the block ends well.

    Raises:
        StoreError: The disk is full or the parent cannot be written.
    """
    temporary = temporary_name(path)
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        for file in sorted(temporary.rglob("*")):
            if file.is_file():
                sync_file(file)
        sync_folder(temporary)
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise disk_error(error, path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Replace the whole text of `path` at once."""
    with new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Replace `path` by JSON with sorted keys; NaN is refused."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes out of a block that reads a file of `folder` and replaces it.

    The lock is on the folder itself and leaves no file; the system gives it up when its
    holder is killed. Blocks must not be nested.

    Raises:
        StoreError: The folder cannot be made or opened.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise disk_error(error, folder) from error
    try:
        # Some network file systems know no locks on folders: there the last writer wins.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def disk_error(error: OSError, path: Path) -> StoreError:
    """Turn an operating-system error into one a user can act on."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"the disk is full: could not write {path.name}",
            where=str(path.parent),
            fix="free some space and repeat the command; what is finished is kept",
        )
    return StoreError(
        f"could not write {path.name}: {error.strerror or error}",
        where=str(path.parent),
        fix="check the folder and its permissions, then repeat the command",
    )


def sweep(folder: Path) -> None:
    """Remove what killed processes of this host left half-written in a folder."""
    ours = f".{socket.gethostname()}."
    for path in folder.glob(".*.tmp"):
        owner = path.name.removesuffix(".tmp").rpartition(ours)[2]
        if ours in path.name and owner.isdecimal() and not _alive(int(owner)):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
