"""Check whole runs: every stored file, its place and hash, and what does not belong there."""

import json
import os
import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py

from critical_phase.checkpoints import file_sha256
from critical_phase.errors import StoreError
from critical_phase.probes.leftovers import is_ours
from critical_phase.probes.store import CONVENTIONS, read_attrs
from critical_phase.probes.validation import FileSummary, validate

Problem = Literal[
    "damaged", "format", "foreign", "half-written", "hash", "place", "plan", "adapter"
]
_NAME = re.compile(r"step-(\d{8})\.h5")
_TEXTS = "texts.jsonl"
_HALF = {
    True: "a killed process left it; probe collect removes it",
    False: "another machine left it or still writes it; delete it if nothing runs there",
}
"""What to do about a temporary file, by whether it is of this machine."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One file that is not as it should be."""

    file: Path
    problem: Problem
    message: str
    """What was found, in one line."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found below some paths."""

    sound: tuple[FileSummary, ...]
    faults: tuple[Fault, ...]
    hashes: int
    """Files compared with the hash in their manifest."""
    unlisted: tuple[Path, ...]
    """Sound files that no manifest lists: a process was killed before it wrote the line, or
    they were copied; `probe collect` lists them."""
    gone: tuple[Path, ...]
    """Files that a manifest lists and that are not there: activations may be deleted, and a
    head that is trained anew takes its files along. `probe status` says what is missing."""

    @property
    def files(self) -> int:
        """Stored files that were read."""
        return len(self.sound) + len({fault.file for fault in self.faults if _is_read(fault)})


def stored_files(path: Path) -> list[Path]:
    """List every stored file below a folder, behind links too, or the one file named."""
    return [path] if path.is_file() else [f for f in _walk(path) if f.match("step-*.h5")]


def check_paths(paths: Iterable[Path]) -> Checked:
    """Read every stored file in full and compare it with the format, its place and its hash.

    Args:
        paths: Run folders, folders of runs, or single files.
    """
    sound: list[FileSummary] = []
    faults: list[Fault] = []
    hashes, unlisted, gone, seen = 0, [], [], set()
    for path in paths:
        noted = noted_hashes(path)
        plans: dict[Path, tuple[str, Path]] = {}
        for file in stored_files(path):
            if file.resolve() in seen:
                continue
            seen.add(file.resolve())
            found = _check(file, noted, plans)
            hashes += file in noted and (isinstance(found, FileSummary) or found.problem == "hash")
            if isinstance(found, Fault):
                faults.append(found)
                continue
            sound.append(found)
            unlisted += [] if file in noted or not noted else [file]
        faults += _strays(path)
        gone += [file for file in noted if path.is_dir() and not file.exists()]
    return Checked(tuple(sound), tuple(faults), hashes, tuple(unlisted), tuple(gone))


def noted_hashes(path: Path) -> dict[Path, str]:
    """Read the hash of every finished file from the manifests below a folder, or of a file's run.

    A line that is not JSON is skipped: a kill cut it short, and its file is checked by its
    content alone.
    """
    if path.is_file():
        manifests = [path.parent.parent.parent / "manifest.jsonl"]
    else:
        manifests = [file for file in _walk(path) if file.name == "manifest.jsonl"]
    noted: dict[Path, str] = {}
    for manifest in filter(Path.is_file, manifests):
        for line in manifest.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                entry = json.loads(line)
                noted[manifest.parent / entry["file"]] = entry["sha256"]
            except (ValueError, KeyError, TypeError):
                continue
    return noted


def _check(
    file: Path, noted: dict[Path, str], plans: dict[Path, tuple[str, Path]]
) -> FileSummary | Fault:
    """Check one file by itself, then against its place, its plan and its manifest."""
    try:
        found = validate(file)
    except StoreError as error:
        return Fault(file, _kind_of(file, error), str(error.args[0]))
    if (misplaced := _misplaced(file, found)) is not None:
        return Fault(file, "place", misplaced)
    plan = str(read_attrs(file)["plan_sha256"])
    first, example = plans.setdefault(file.parent.parent.parent, (plan, file))
    if plan != first:
        return Fault(file, "plan", f"its rows are not those of {example}")
    if file in noted and file_sha256(file) != noted[file]:
        return Fault(file, "hash", "it is not the file that was written: its hash differs")
    return found


def _kind_of(file: Path, error: StoreError) -> Problem:
    if "breaks its format" not in str(error.args[0]):
        return "damaged" if h5py.is_hdf5(file) else "foreign"
    return "foreign" if "unknown convention" in str(error.args[0]) else "format"


def _misplaced(file: Path, found: FileSummary) -> str | None:
    """Compare what a file says of itself with its name; one outside a run may lie anywhere."""
    name = _NAME.fullmatch(file.name)
    if name is None or file.parent.parent.name not in CONVENTIONS:
        return None
    place = (file.parent.parent.name, file.parent.name, int(name[1]))
    own = (found.kind, found.head, found.step)
    return None if own == place else f"it says {_words(own)}, its name says {_words(place)}"


def _words(place: tuple[str, str, int]) -> str:
    kind, head, step = place
    return f"{kind} of {head} at step {step}"


def _strays(path: Path) -> Iterator[Fault]:
    """Name files among the stored ones that nobody reads."""
    for file in _walk(path):
        if not CONVENTIONS.keys() & set(file.relative_to(path).parts[:-1]):
            continue
        if _NAME.fullmatch(file.name) or file.name == _TEXTS or _being_written(file):
            continue
        if file.name.startswith(".") and file.name.endswith(".tmp"):
            yield Fault(file, "half-written", _HALF[is_ours(file)])
        else:
            yield Fault(file, "foreign", "no file of this name belongs here")


def _walk(folder: Path) -> list[Path]:
    """List all files below a folder: sweeps link the heads and scores of a sibling."""
    found: list[Path] = []
    visited: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in visited:
            folders.clear()
            continue
        visited.add(real)
        found += [Path(place, name) for name in names]
    return sorted(found)


def _being_written(file: Path) -> bool:
    """Tell whether a temporary file belongs to a living process of this machine."""
    owner = re.fullmatch(rf"\..*\.{re.escape(socket.gethostname())}\.(\d+)\.tmp", file.name)
    if owner is None:
        return False
    try:
        os.kill(int(owner[1]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_read(fault: Fault) -> bool:
    return fault.problem != "half-written" and fault.file.suffix == ".h5"
