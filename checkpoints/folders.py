"""Find saved checkpoints below a folder: their steps, their kind, and what cannot be read.

Trainers write `checkpoint-64`; `checkpoint-000064` and `step-64` are read too. A checkpoint
is an adapter as PEFT writes it, in the folder or one level down under its name, or a whole
set of weights with its config. Only safetensors are opened: pickle files never.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError, safe_open

from critical_phase.errors import CheckpointError, ConfigError

Kind = Literal["adapter", "full"]

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
FULL_CONFIG = "config.json"
FULL_WEIGHTS = "model.safetensors"
FULL_INDEX = "model.safetensors.index.json"
DEFAULT_ADAPTER = "default"

_NAME = re.compile(r"(?:checkpoint|step|global_step)[-_]?(\d+)")
_REFERENCES = ("ref", "reference")
_PICKLES = ("adapter_model.bin", "pytorch_model.bin", "pytorch_model.bin.index.json")


@dataclass(frozen=True, slots=True)
class SavedStep:
    """One complete checkpoint on disk."""

    step: int
    kind: Kind
    path: Path
    """Folder with the config and the weights."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a folder of checkpoints holds."""

    saved: tuple[SavedStep, ...]
    """In step order."""
    skipped: tuple[str, ...]
    """Folders that were left out, one sentence each."""


def list_folder(folder: Path, *, adapter_name: str | None = None) -> Listing:
    """List the complete checkpoints below a folder in numeric step order.

    Args:
        folder: Output folder of a training run.
        adapter_name: Which adapter, where checkpoints hold several; `default` is PEFT's name
            for the one in the folder itself.

    Raises:
        CheckpointError: The folder is missing, holds no complete checkpoint, or holds
            adapters and full weights side by side.
        ConfigError: Several named adapters and none chosen, or no adapter of this name.
    """
    if not folder.is_dir():
        raise CheckpointError(
            "no such folder of checkpoints",
            where=str(folder),
            fix="give the folder that holds checkpoint-<step>; probe train writes one",
        )
    named = [(p, s) for p in sorted(folder.iterdir()) if (s := step_of(p.name)) is not None]
    homes = {path: _adapters(path) for path, _ in named}
    skipped = _drop_references(homes) if adapter_name is None else []
    chosen = _choose_adapter(folder, homes, adapter_name)
    saved: dict[int, SavedStep] = {}
    for path, step in named:
        found = _read(path, step, homes[path], chosen)
        if isinstance(found, str):
            skipped.append(f"skipped {path.name}: {found}")
        elif found.step in saved:
            skipped.append(f"skipped {path.name}: step {found.step} is already given")
        else:
            saved[found.step] = found
    ordered = tuple(saved[step] for step in sorted(saved))
    _check_kinds(folder, ordered, skipped)
    return Listing(ordered, tuple(skipped))


def step_of(name: str) -> int | None:
    """Read the step out of the name of a checkpoint's folder; None for other folders."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def full_files(folder: Path) -> dict[str, Path]:
    """Map the name of every tensor of a model folder to the safetensors file that holds it.

    Raises:
        CheckpointError: A file is missing or damaged, or there is none.
    """
    try:
        shards = [folder / FULL_WEIGHTS]
        if (folder / FULL_INDEX).is_file():
            index = json.loads((folder / FULL_INDEX).read_text(encoding="utf-8"))
            shards = [folder / name for name in sorted(set(index["weight_map"].values()))]
        return {name: shard for shard in shards for name in _tensor_names(shard)}
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"cannot read the weights: {error}",
            where=str(folder),
            fix=f"the folder needs {FULL_WEIGHTS}, or its shards and {FULL_INDEX}",
        ) from error


def _read(path: Path, step: int, homes: dict[str, Path], chosen: str | None) -> SavedStep | str:
    """Return a checkpoint, or why it is left out."""
    if homes:
        home = homes.get(chosen) if chosen is not None else next(iter(homes.values()))
        return SavedStep(step, "adapter", home) if home else f"no adapter named {chosen!r} in it"
    if (path / FULL_CONFIG).is_file() and _whole_weights(path):
        return SavedStep(step, "full", path)
    for name in _PICKLES:
        if any(path.glob(f"**/{name}")):
            return f"its weights are in a pickle file ({name}), which is never opened"
    return "no complete adapter or model in it"


def _adapters(path: Path) -> dict[str, Path]:
    """Find the complete adapters of a checkpoint by name: in the folder, or one level down."""
    if not path.is_dir():
        return {}
    below = {p.name: p for p in sorted(path.iterdir()) if p.is_dir()}
    homes = {DEFAULT_ADAPTER: path, **below}
    return {name: home for name, home in homes.items() if _whole_adapter(home)}


def _drop_references(homes: dict[Path, dict[str, Path]]) -> list[str]:
    """Leave out the frozen adapter that trainers of preferences keep beside the trained one."""
    dropped: set[str] = set()
    # The trained adapter may be missing from a folder that is still being written.
    trained = {name for found in homes.values() for name in found} - set(_REFERENCES)
    for found in homes.values():
        for name in _REFERENCES:
            if name in found and trained:
                del found[name]
                dropped.add(name)
    return [
        f"adapter {name!r} is left out as the frozen reference of the training; "
        f"--adapter-name {name} reads it"
        for name in sorted(dropped)
    ]


def _choose_adapter(
    folder: Path, homes: dict[Path, dict[str, Path]], asked: str | None
) -> str | None:
    """Settle which named adapter is read; None where all checkpoints hold the same one."""
    names = sorted({name for found in homes.values() for name in found})
    if asked is None and len(names) > 1:
        raise ConfigError(
            f"the checkpoints hold several adapters: {', '.join(names)}",
            where=str(folder),
            fix=f"choose one, such as --adapter-name {names[0]}",
        )
    if asked is not None and asked not in names:
        raise ConfigError(
            f"no adapter is named {asked!r}",
            where=str(folder),
            fix=f"there are: {', '.join(names) or 'no named adapters at all'}",
        )
    return asked


def _check_kinds(folder: Path, saved: tuple[SavedStep, ...], skipped: list[str]) -> None:
    if not saved:
        raise CheckpointError(
            "the folder holds no complete checkpoint-<step>" + "".join(f"; {s}" for s in skipped),
            where=str(folder),
            fix=_nothing_found(folder),
        )
    steps = {kind: [s.step for s in saved if s.kind == kind] for kind in ("adapter", "full")}
    if steps["adapter"] and steps["full"]:
        raise CheckpointError(
            f"the folder mixes adapters (steps {_few(steps['adapter'])}) "
            f"and full weights (steps {_few(steps['full'])})",
            where=str(folder),
            fix="put the checkpoints of each training run into a folder of their own",
        )


def _nothing_found(folder: Path) -> str:
    if step_of(folder.resolve().name) is not None:
        return f"this is one checkpoint; give the folder above it: {folder.resolve().parent}"
    return f"each needs {CONFIG} and {WEIGHTS}, or {FULL_CONFIG} and {FULL_WEIGHTS}"


def _few(steps: list[int]) -> str:
    return ", ".join(map(str, steps[:4])) + (", ..." if steps[4:] else "")


def _whole_adapter(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and _readable(folder / WEIGHTS)


def _whole_weights(folder: Path) -> bool:
    try:
        return bool(full_files(folder))
    except CheckpointError:
        return False


def _readable(path: Path) -> bool:
    try:
        return bool(_tensor_names(path))
    except (OSError, SafetensorError):
        return False


def _tensor_names(path: Path) -> list[str]:
    with safe_open(path, framework="pt") as file:
        return list(file.keys())
