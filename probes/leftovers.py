"""Remove, or name, the temporary files that a killed process left in a run folder."""

import os
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Leftover:
    """A temporary file or folder that another machine left."""

    path: Path
    age_s: float
    """Since anything in it was written, in seconds."""


def remove_leftovers(folder: Path) -> tuple[Path, ...]:
    """Delete hidden temporary files of processes of this machine that are gone.

    Files of living processes and of other machines stay: they may still be written.
    """
    removed = []
    name = f".*.{socket.gethostname()}.*.tmp"
    for path in sorted([*folder.glob(name), *folder.glob(f"*/{name}")]):  # also behind links
        number = path.name.split(".")[-2]
        if path.is_file() and number.isdigit() and not _alive(int(number)):
            path.unlink(missing_ok=True)
            removed.append(path)
    return tuple(removed)


def left_elsewhere(folder: Path, *, older_than_s: float = DAY_S) -> tuple[Leftover, ...]:
    """Find what other machines left half-written and have not touched for long.

    Nothing is deleted: from here nobody sees whether the process still lives.

    Args:
        folder: Run folder, looked at with all folders below.
        older_than_s: Younger files may still be written, in seconds.
    """
    now = time.time()
    named = [p for p in sorted(folder.rglob(".*.tmp")) if re.fullmatch(r"\..+\.\d+\.tmp", p.name)]
    found = [Leftover(path, now - _touched(path)) for path in named if not is_ours(path)]
    return tuple(one for one in found if one.age_s > older_than_s)


def is_ours(path: Path) -> bool:
    """Tell whether a temporary name was given on this machine."""
    host = re.escape(socket.gethostname())
    return re.fullmatch(rf"\..+\.{host}\.\d+\.tmp", path.name) is not None


def _touched(path: Path) -> float:
    """Return when a file, or anything in a folder, was last written; now if it just went."""
    try:
        return max(one.lstat().st_mtime for one in (path, *path.rglob("*")))
    except FileNotFoundError:
        return time.time()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
