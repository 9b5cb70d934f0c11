"""Room for what a unit's files will hold: in memory, or in a file where that is too much.

Activations of ten thousand questions do not fit the memory of most machines. Large arrays
lie in a file without a name in the run folder instead, which the system keeps in memory
as far as there is room, and which is gone when the process is, however it ends.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from critical_phase.atomic import disk_error, temporary_name
from critical_phase.errors import StoreError
from critical_phase.probes.reserve import hold_room

MEMORY = 256 << 20
"""Bytes of all arrays of a unit up to which they stay in memory."""


def new_room(like: Mapping[str, Tensor], folder: Path, memory: int = MEMORY) -> dict[str, Tensor]:
    """Make arrays of zeros of the same names, shapes and types.

    Args:
        like: Tells names, shapes and types; its values are not read.
        folder: Where the nameless files go; it may not exist yet.
        memory: Bytes that may stay in memory; beyond, the largest arrays go to disk first.

    Raises:
        StoreError: The folder cannot be written, or the disk is full.
    """
    left, made = memory, {}
    for name, array in sorted(like.items(), key=lambda item: item[1].nbytes):
        left -= array.nbytes
        made[name] = torch.zeros_like(array) if left >= 0 else _on_disk(array, folder)
    return {name: made[name] for name in like}


def _on_disk(array: Tensor, folder: Path) -> Tensor:
    path = temporary_name(folder / "room")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.touch()
        try:
            # A mapped file without its blocks would end the process when the disk is full.
            hold_room(path, array.nbytes)
            flat = torch.from_file(str(path), shared=True, size=array.numel(), dtype=array.dtype)
        finally:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(error, folder / "room") from error
    except RuntimeError as error:
        raise StoreError(
            f"a file of {array.nbytes >> 20} MiB cannot be mapped into memory: {error}",
            where=str(folder),
            fix="use a run folder on a local disk, or collect fewer rows (--limit)",
        ) from error
    return flat.reshape(array.shape)
