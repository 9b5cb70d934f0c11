"""Small JSON files that say how they were made: read back if made so, else refused or replaced."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from critical_phase.atomic import write_json
from critical_phase.errors import StoreError
from critical_phase.probes.units import step_name

SCHEMA_VERSION = 1
RANDOM = "random"
"""First part of the name of the control with random adapters."""


def step_path(run: Path, folder: str, head: str, step: int, *, control: bool = False) -> Path:
    """Return where what was found at a checkpoint, or at its random twin, belongs."""
    name = step_name(step)
    return run / folder / head / f"{f'{RANDOM}-{name}' if control else name}.json"


def number(value: float) -> float | None:
    """Return what JSON can hold."""
    return value if math.isfinite(value) else None


def stored(path: Path, key: Mapping[str, Any], *, overwrite: bool) -> dict[str, Any] | None:
    """Return a finished file that was made in this way; None where there is none.

    Raises:
        StoreError: The file is damaged, or was made in another way and is not to be replaced.
    """
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        odd = sorted(k for k in key if found["key"].get(k) != key[k])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if overwrite:
            return None
        problem = f"cannot read this file: {error!r}"
        raise StoreError(problem, where=str(path), fix="repeat with --overwrite") from error
    if not odd:
        return found
    if overwrite:
        return None
    raise StoreError(
        f"this file was made in another way: its {odd[0]} is {found['key'].get(odd[0])!r}, "
        f"asked for {key[odd[0]]!r}",
        where=str(path),
        fix="repeat the earlier settings, or give --overwrite to make it again",
    )


def write(path: Path, key: Mapping[str, Any], **content: object) -> dict[str, Any]:
    """Write a file at once and return what it holds."""
    value = {"schema_version": SCHEMA_VERSION, "key": dict(key), **content}
    write_json(path, value)
    return value
