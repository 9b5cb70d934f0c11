"""Two runs that share files: one copy on disk, a name in each."""

import os
import shutil
from pathlib import Path

from critical_phase.atomic import new_file, sweep


def share_folder(source: Path, target: Path) -> None:
    """Give a folder the files of another one, without a second copy where that is possible."""
    for file in sorted(source.rglob("*")):
        if file.is_file() and not file.name.startswith("."):
            share_file(file, target / file.relative_to(source))


def share_file(source: Path, target: Path) -> None:
    """Link a file under a second name, or copy it where the file system has no links.

    Files of a run are replaced, never written into, so neither name sees a change of the other.
    """
    if target.exists() and target.samefile(source):
        return
    sweep(target.parent)
    with new_file(target) as temporary:
        try:
            os.link(source.resolve(), temporary)
        except OSError:
            shutil.copyfile(source, temporary)
