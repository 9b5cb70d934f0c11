"""Remove the temporary files that a killed process left in a run folder."""

import os
import socket
from pathlib import Path


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


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
