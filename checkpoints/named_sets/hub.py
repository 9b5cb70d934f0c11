"""Rows of the hub's datasets, through `datasets`, with or without a network."""

import contextlib
import functools
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from critical_phase.checkpoints.hub_reach import hub_reachable
from critical_phase.checkpoints.named_sets.named_set import Part
from critical_phase.errors import QuestionError


def hub_rows(part: Part, home: Path | None) -> Any:
    """Return the rows of a part, as a `datasets.Dataset`.

    The hub is asked first. Where it cannot be reached, or `HF_HUB_OFFLINE` is set, the
    rows come from what an earlier load prepared, or from what `hf download` fetched.

    Args:
        part: What to read.
        home: Folder with the caches `hub` and `datasets`; None means `HF_HOME`.

    Raises:
        QuestionError: Neither the hub nor a cache has it.
    """
    return _load(part.hub, part.config, part.split, home)


@functools.cache
def _load(hub: str, config: str | None, split: str, home: Path | None) -> Any:
    """Load once per process: training and evaluation may share a part (files are mapped)."""
    # Here, not above: the import takes a second, and only named sets need it.
    import datasets
    from huggingface_hub import constants

    prepared = str(home / "datasets") if home else None
    downloads = home / "hub" if home else Path(constants.HF_HUB_CACHE)
    online = not datasets.config.HF_HUB_OFFLINE and _reachable()
    reasons: list[Exception] = []
    try:
        with contextlib.nullcontext() if online else _offline(datasets.config):
            return datasets.load_dataset(hub, config, split=split, cache_dir=prepared)
    except Exception as error:  # `datasets` lets errors of many libraries through
        reasons.append(error)
    if not online:
        try:
            snapshot = _snapshot(hub, downloads)
            return datasets.load_dataset(snapshot, config, split=split, cache_dir=prepared)
        except Exception as error:
            reasons.append(error)
    raise _absent(Part(hub, config, split), online, downloads.parent, reasons) from reasons[0]


def _snapshot(hub: str, downloads: Path) -> str:
    """Find the files that `hf download` left, without asking the hub."""
    from huggingface_hub import snapshot_download

    return str(
        snapshot_download(hub, repo_type="dataset", local_files_only=True, cache_dir=downloads)
    )


@functools.cache
def _reachable() -> bool:
    """Ask the hub once, without the half minute of retries that a load would spend."""
    if hub_reachable():
        return True
    warnings.warn("the hub cannot be reached: question sets are read from the cache", stacklevel=2)
    return False


@contextlib.contextmanager
def _offline(config: Any) -> Iterator[None]:
    """Let `datasets` look at its cache alone; it reads this switch at every load.

    It also says for every part that it does so: two lines for each of BLiMP's 67.
    """
    log = logging.getLogger("datasets")
    before, level = config.HF_HUB_OFFLINE, log.level
    config.HF_HUB_OFFLINE = True
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before
        log.setLevel(level)


def _absent(part: Part, online: bool, home: Path, reasons: list[Exception]) -> QuestionError:
    # Libraries add advice for programmers after the first sentence.
    lines = "; ".join(dict.fromkeys(re.split(r"\n|\. ", str(error))[0] for error in reasons))
    if online:
        return QuestionError(
            f"the hub does not give {part}: {lines}",
            where=f"https://huggingface.co/datasets/{part.hub}",
            fix="check the access to it, or write the questions to a file and name that",
        )
    return QuestionError(
        f"{part} is not at hand: the hub cannot be reached and no cache has it ({lines})",
        where=str(home),
        fix=f"with a network, run `hf download --repo-type dataset {part.hub}`; without one, "
        "run it elsewhere, copy that HF_HOME folder here and set HF_HOME to it",
    )
