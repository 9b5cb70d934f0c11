"""Revisions of a model on the Hugging Face hub: which there are, and their files on this disk."""

import re
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download

from critical_phase.checkpoints.folders import FULL_CONFIG, full_files
from critical_phase.errors import CheckpointError

_NAMED = re.compile(r"([\w.-]+(?:/[\w.-]+)?)@(\S+)")
# Weights in pickle files are not even downloaded.
_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


def split_revision(name: str) -> tuple[str, str] | None:
    """Split `owner/name@revision`; None where the name has no revision or is a path."""
    match = _NAMED.fullmatch(name)
    return (match[1], match[2]) if match and not Path(name).exists() else None


def list_revisions(repo: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """List branches and tags of a model, and say where the list is not the hub's.

    Offline, the revisions in the local cache are listed.

    Raises:
        CheckpointError: The hub cannot be asked and the cache has nothing of this model.
    """
    reason = "working offline"
    if not constants.HF_HUB_OFFLINE:
        try:
            refs = HfApi().list_repo_refs(repo)
            return tuple(ref.name for ref in (*refs.branches, *refs.tags)), ()
        except Exception as error:  # of whatever HTTP library the hub's client uses
            reason = f"the hub gave no answer: {(str(error).splitlines() or ['?'])[0]}"
    whole, partial = _cached(repo)
    if not whole:
        raise CheckpointError(
            f"no revision of {repo!r} can be listed ({reason}; the local cache has none)",
            where=str(constants.HF_HUB_CACHE),
            fix="check the name and the connection, or download the revisions first",
        )
    notes = [f"{reason}: only the {len(whole)} revisions in the local cache are listed"]
    notes += [f"skipped {name}: not complete in the local cache" for name in partial]
    return whole, tuple(notes)


def fetch_revision(repo: str, revision: str) -> Path:
    """Return the folder with the files of one revision, downloaded if it is not cached.

    Raises:
        CheckpointError: No such revision, no connection, or no safetensors in it.
    """
    name = f"{repo}@{revision}"
    try:
        folder = Path(
            snapshot_download(
                repo,
                revision=revision,
                cache_dir=constants.HF_HUB_CACHE,
                allow_patterns=_FILES,
                local_files_only=bool(constants.HF_HUB_OFFLINE),
            )
        )
    except Exception as error:  # of whatever HTTP library the hub's client uses
        raise CheckpointError(
            f"cannot fetch {name}: {(str(error).splitlines() or ['?'])[0]}",
            fix="check name, revision and connection",
        ) from error
    try:
        full_files(folder)
    except CheckpointError as error:
        raise CheckpointError(
            f"{name} has no complete weights in safetensors; pickle files (.bin) are never opened",
            where=str(folder),
            fix="leave this revision out with --checkpoints",
        ) from error
    return folder


def cached_revision(repo: str, revision: str) -> Path | None:
    """Return the folder of a revision that is complete on this disk, without any download."""
    home = _home(repo)
    reference = home / "refs" / revision
    if not reference.is_file():
        return None
    folder = home / "snapshots" / reference.read_text(encoding="utf-8").strip()
    return folder if _complete(folder) else None


def _cached(repo: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    references = _home(repo) / "refs"
    names = sorted(
        p.relative_to(references).as_posix() for p in references.rglob("*") if p.is_file()
    )
    whole = tuple(name for name in names if cached_revision(repo, name) is not None)
    return whole, tuple(name for name in names if name not in whole)


def _home(repo: str) -> Path:
    return Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"


def _complete(folder: Path) -> bool:
    try:
        return (folder / FULL_CONFIG).is_file() and bool(full_files(folder))
    except CheckpointError:
        return False
