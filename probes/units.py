"""Units of work: one checkpoint of one head; what makes a finished file still valid."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from critical_phase.checkpoints import Checkpoint
from critical_phase.differences import apart
from critical_phase.errors import StoreError
from critical_phase.probes.reading import damaged_file
from critical_phase.probes.store import Kind, read_attrs, to_json

BASE = "base"
_FINGERPRINTS = {
    "adapter_sha256": "the weights of the checkpoint",
    "base_sha256": "the weights of the base model",
    "examples_sha256": "the training examples drawn for gradients",
    "plan_sha256": "questions, prompts or tokens of the rows",
    "texts_sha256": "the neutral texts",
}
"""What the hashes of a key stand for."""
_REPEAT = "repeat the earlier settings, use another run folder, or collect with --overwrite"
_RESTORE = (
    "if the checkpoint changed or was damaged after collecting, restore it: probe validate names"
    " all such and how; only if it is meant to be another now, collect with --overwrite"
)
"""Where nothing but the checkpoint differs, the stored file may be the one that is sound."""


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
    wanted: dict[str, Any] = json.loads(to_json(key))
    if found == wanted:
        return True
    if overwrite:
        return False
    names = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    differences = "; ".join(_difference(name, found, wanted) for name in names)
    raise StoreError(
        f"this file was collected in another way ({differences})",
        where=str(path),
        fix=_RESTORE if names == ["adapter_sha256"] else _REPEAT,
    )


def key_hash(key: Mapping[str, Any]) -> str:
    """Hash a key."""
    return hashlib.sha256(to_json(key).encode()).hexdigest()


def _stored_key(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(str(read_attrs(path)["unit_key"]))
    except (KeyError, ValueError) as error:
        raise damaged_file(path, "the file does not say how it was made") from error
    return value


def _difference(name: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Keys leave defaults out, so what one of them lacks is the default."""
    stored, asked = apart(found.get(name, "the default"), wanted.get(name, "the default"))
    meaning = f" ({_FINGERPRINTS[name]})" if name in _FINGERPRINTS else ""
    return f"{name}: stored {stored}, asked for {asked}{meaning}"
