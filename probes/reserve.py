"""Ask for disk space before HDF5 does: the library crashes when a write of its own fails.

With a full disk HDF5 2.0 cannot flush, fails again on close and ends the process with a
segmentation fault (measured). A refused reservation is an ordinary error instead.
"""

import os
from pathlib import Path


def check_room(path: Path, size_bytes: int) -> None:
    """Reserve and give back room for a new file at `path`.

    Raises:
        OSError: The disk or the quota has no room for it.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        _allocate(descriptor, size_bytes)
    finally:
        os.close(descriptor)
        path.unlink()


def hold_room(path: Path, size_bytes: int) -> None:
    """Reserve room in a file that is open elsewhere; `give_back` cuts what was not used.

    Raises:
        OSError: The disk or the quota has no room for it.
    """
    descriptor = os.open(path, os.O_WRONLY)
    try:
        _allocate(descriptor, size_bytes)
    finally:
        os.close(descriptor)


def give_back(path: Path) -> None:
    """Cut a closed HDF5 file to the end that it states itself in its first bytes.

    Reference:
        HDF5 File Format Specification 3.0, section II.A (superblock).
    """
    with path.open("rb") as file:
        start = file.read(56)
    offset = {0: 40, 1: 44, 2: 28, 3: 28}[start[8]]  # of the end-of-file address, by version
    os.truncate(path, int.from_bytes(start[offset : offset + 8], "little"))


def _allocate(descriptor: int, size_bytes: int) -> None:
    if hasattr(os, "posix_fallocate"):  # not on macOS
        os.posix_fallocate(descriptor, 0, size_bytes)
