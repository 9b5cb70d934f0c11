"""Directions of the residual stream, read from a file.

A file holds `direction`, one vector of the model's width, or `directions`, one row per layer. Only
the line matters: vectors are brought to norm 1. An npz file may hold `layer`, a safetensors file
may note it among its metadata: the layer after which the direction was found.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError, safe_open

from critical_phase.errors import InputError

ONE, MANY, LAYER = "direction", "directions", "layer"
_FIX = "write numpy.savez(file, direction=vector, layer=2), or a safetensors file alike"


@dataclass(frozen=True, slots=True)
class Directions:
    """Unit vectors and where they were found."""

    vectors: Float[np.ndarray, "layer d"]
    """One row for all layers, or one per layer."""
    layer: int | None
    """After which layer, where the file says so."""


def read_directions(path: Path) -> Directions:
    """Read a direction, or one per layer; nothing is unpickled.

    Raises:
        InputError: The file is missing or damaged, or holds no direction.
    """
    try:
        found = _npz(path) if path.suffix == ".npz" else _safetensors(path)
    except (OSError, ValueError, BadZipFile, SafetensorError) as error:
        raise InputError(
            f"cannot read the direction: {str(error).splitlines()[0]}", where=str(path), fix=_FIX
        ) from error
    layer = None if found.get(LAYER) is None else int(np.asarray(found[LAYER]).item())
    vectors = found.get(MANY, found.get(ONE))
    if vectors is None or (ONE in found) == (MANY in found):
        raise InputError(
            f"asked for one of {ONE} and {MANY}, found {', '.join(sorted(found)) or 'nothing'}",
            where=str(path),
            fix=_FIX,
        )
    table = np.asarray(vectors, dtype=np.float64)
    table = table[None] if ONE in found and table.ndim == 1 else table
    norms = np.linalg.norm(table, axis=-1, keepdims=True)
    if table.ndim != 2 or not np.isfinite(norms).all() or not (norms > 0).all():
        raise InputError(
            f"the direction has the shape {np.asarray(vectors).shape}, or is zero or no number",
            where=str(path),
            fix=_FIX,
        )
    return Directions(table / norms, layer)


def _npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _safetensors(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        found: dict[str, Any] = {k: file.get_tensor(k).double().numpy() for k in file.keys()}  # noqa: SIM118
        note = (file.metadata() or {}).get(LAYER)
    return found if note is None else {LAYER: np.asarray(int(note)), **found}
