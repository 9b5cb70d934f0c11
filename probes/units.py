"""Units of work: one checkpoint of one head; what makes a finished file still valid."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from critical_phase.checkpoints import Checkpoint
from critical_phase.errors import StoreError
from critical_phase.probes.store import Kind, read_attrs, to_json

BASE = "base"


@dataclass(frozen=True, slots=True)
class Unit:
    """One checkpoint of one head to collect."""

    head: str
    """`base`, `positive` or `negative`, or any name of a series."""
    step: int
    """Optimizer steps; 0 for the base model."""
    checkpoint: Checkpoint | None = None
    """Adapter or full weights; None for the base model, which may stand for step 0 of a head."""

    @property
    def name(self) -> str:
        """Name in messages and files, such as `negative-step-00000064`."""
        return f"{self.head}-{step_name(self.step)}"

    @property
    def adapter_sha256(self) -> str:
        """Hash of the checkpoint's tensors; empty for the base model."""
        return "" if self.checkpoint is None else self.checkpoint.sha256


def step_name(step: int) -> str:
    """Name a step so that names sort as numbers do."""
    return f"step-{step:08d}"


def make_units(series: Mapping[str, Iterable[Checkpoint]]) -> tuple[Unit, ...]:
    """List the base model and then every checkpoint of every head, in step order.

    Args:
        series: Checkpoints by head.
    """
    units = [Unit(BASE, 0)]
    for head, checkpoints in series.items():
        ordered = sorted(checkpoints, key=lambda item: item.step)
        units += [Unit(head, i.step, None if i.kind == "base" else i) for i in ordered]
    return tuple(units)


def unit_path(run: Path, kind: Kind, unit: Unit) -> Path:
    """Return where a unit's file of one kind belongs."""
    return run / kind / unit.head / f"{step_name(unit.step)}.h5"


def is_done(path: Path, key: Mapping[str, Any], *, overwrite: bool) -> bool:
    """Tell whether a finished file is there and was made in the same way.

    Args:
        path: Final name.
        key: Everything that decides the file's content.
        overwrite: Treat a file made in another way as missing.

    Raises:
        StoreError: The file was made in another way; the message shows the difference.
    """
    if not path.exists():
        return False
    try:
        found = _stored_key(path)
    except StoreError:
        if overwrite:
            return False  # damaged: it is made again like one made in another way
        raise
    if found == json.loads(to_json(key)):
        return True
    if overwrite:
        return False
    names = sorted(
        name for name in {*found, *key} if found.get(name) != json.loads(to_json(key)).get(name)
    )
    difference = "; ".join(
        f"{name}: stored {_short(found.get(name))}, now {_short(key.get(name))}" for name in names
    )
    raise StoreError(
        f"this file was collected in another way ({difference})",
        where=str(path),
        fix="repeat the earlier settings, use another run folder, or collect with --overwrite",
    )


def key_hash(key: Mapping[str, Any]) -> str:
    """Hash a key."""
    return hashlib.sha256(to_json(key).encode()).hexdigest()


def _stored_key(path: Path) -> dict[str, Any]:
    stored = read_attrs(path).get("unit_key")
    if not isinstance(stored, str):
        raise StoreError("the file does not say how it was made", where=str(path))
    value: dict[str, Any] = json.loads(stored)
    return value


def _short(value: Any) -> str:
    text = str(value)
    return text[:12] + "…" if len(text) == 64 else text
