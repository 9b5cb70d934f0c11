"""Adapters that are no longer those that the stored files were collected from."""

import shlex
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from critical_phase.checkpoints.folders import WEIGHTS
from critical_phase.cli.run_folder import BASE, RunFolder
from critical_phase.cli.stored_series import stored_series
from critical_phase.errors import CheckpointError, StoreError
from critical_phase.probes import Fault, read_attrs

Collected = dict[tuple[str, int], list[tuple[Path, str]]]
"""Stored files of each head and step, with the hash of the adapter that they were made from."""


def changed_adapters(files: Iterable[Path]) -> tuple[list[Fault], int]:
    """Compare the saved adapter of every stored file with the one that it was collected from.

    Full weights and revisions on the hub are taken as they were noted when they were
    collected: hashing them takes long.

    Args:
        files: Stored files; those that lie in no run, or cannot be read, are passed over.

    Returns:
        One fault per adapter that changed, and how many were compared.
    """
    runs: dict[Path, list[Path]] = defaultdict(list)
    for file in files:
        if (run := _run_of(file)) is not None:
            runs[run].append(file)
    faults: list[Fault] = []
    compared = 0
    for run, own in runs.items():
        found, count = _changed(RunFolder(run), _collected(own))
        faults += found
        compared += count
    return faults, compared


def remedy(run: RunFolder, head: str, step: int, again: str) -> str:
    """Say how to get back an adapter that changed, before saying how to collect from it anew.

    Args:
        run: The run.
        head: Head of the adapter.
        step: Its step.
        again: What to do where the other adapter is meant; it gives up what was collected.
    """
    return (
        f"it changed or was damaged after collecting: {_restore(run, head, step)}. "
        f"Only if the adapter is meant to be another now: {again}"
    )


def _restore(run: RunFolder, head: str, step: int) -> str:
    if run.head(head).is_dir() and run.config.is_file():
        folder = _folder(run, head, step)
        command = f"probe train {shlex.quote(str(run.path))} --densify {step}"
        return f"restore it, or delete {folder}, and {command} makes it again bit for bit"
    return "restore it from where it was made"


def _changed(run: RunFolder, collected: Collected) -> tuple[list[Fault], int]:
    heads = sorted({head for head, _ in collected} & set(run.known_heads()))
    faults: list[Fault] = []
    compared = 0
    for head in heads:
        try:
            series = stored_series(run, [head])[0].get(head)
        except CheckpointError as error:
            faults.append(Fault(run.head(head), "adapter", str(error.args[0])))
            continue
        saved = {} if series is None else {item.step: item for item in series.checkpoints}
        for (_, step), files in sorted(one for one in collected.items() if one[0][0] == head):
            if step not in saved:
                faults += _lost(run, head, step)
                continue
            compared += 1
            item = saved[step]
            other = [path for path, sha256 in files if sha256 != item.sha256]
            if other:
                where = item.path / WEIGHTS if item.kind == "adapter" else item.path
                text = _words(other, run, head, step)
                faults.append(Fault(where, "adapter", text))
    return faults, compared


def _words(other: list[Path], run: RunFolder, head: str, step: int) -> str:
    names = f"{other[0]}" + (f" and {len(other) - 1} more" if other[1:] else "")
    were = "were" if other[1:] else "was"
    return (
        f"{names} {were} collected from another adapter than the one saved now; "
        f"{_restore(run, head, step)}"
    )


def _lost(run: RunFolder, head: str, step: int) -> list[Fault]:
    """Name an adapter that is there and cannot be read; one that was deleted is no fault."""
    folder = _folder(run, head, step)
    if not folder.is_dir():
        return []
    text = f"the adapter cannot be read any more; {_restore(run, head, step)}"
    return [Fault(folder / WEIGHTS, "adapter", text)]


def _folder(run: RunFolder, head: str, step: int) -> Path:
    return run.head(head) / f"checkpoint-{step}"


def _collected(files: Iterable[Path]) -> Collected:
    found: Collected = defaultdict(list)
    for file in files:
        try:
            attrs = read_attrs(file)
            head, step, sha256 = (attrs[key] for key in ("head", "step", "adapter_sha256"))
        except (StoreError, KeyError):  # the check of the file itself names these
            continue
        if head != BASE:
            found[str(head), int(step)].append((file, str(sha256)))
    return found


def _run_of(file: Path) -> Path | None:
    """Find the run that a stored file lies in, by its run.json."""
    return next((one for one in file.parents[:5] if (one / "run.json").is_file()), None)
