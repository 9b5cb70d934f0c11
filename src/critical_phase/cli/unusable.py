"""Activations on disk that a measure cannot use, because some of them are not numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from critical_phase.probes import BASE, non_finite_files


@dataclass(frozen=True, slots=True)
class Unusable:
    """Checkpoints whose activations are left out of every measure."""

    places: frozenset[tuple[str, int]]
    """Head and step of each."""
    notes: tuple[str, ...]
    """One line per checkpoint, and one where nothing is left."""
    nothing_left: bool
    """Whether the base or a head has no usable activations at all."""


def unusable(files: Mapping[tuple[str, int], Path], heads: Sequence[str]) -> Unusable:
    """Find the activations files that state values that are not finite.

    Args:
        files: Activations file by head and step, the base at step 0 among them.
        heads: Trained heads.

    Raises:
        StoreError: A file is damaged.
    """
    owner = {path: place for place, path in files.items()}
    found = {owner[one.file]: one for one in non_finite_files(list(owner))}
    notes = [
        f"{head}, step {step}: {one.count} activations are not finite, first in {one.first}: "
        "left out of every measure of activations"
        for (head, step), one in found.items()
    ]
    left = {head for head, step in files if (head, step) not in found}
    lost = [head for head in (BASE, *heads) if head not in left]
    if lost:
        notes.append(f"nothing was computed from activations: none of {lost[0]} can be used")
    return Unusable(frozenset(found), tuple(notes), bool(lost))
