"""Check a scores or activations file against the format document (docs/format.md)."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from critical_phase.errors import StoreError
from critical_phase.probes.reading import dataset_names, opened, read_array
from critical_phase.probes.store import CONVENTIONS

REQUIRED_ATTRIBUTES = (
    "head",
    "step",
    "adapter_sha256",
    "base_sha256",
    "plan_sha256",
    "compute_dtype",
    "device",
    "merged",
    "norm_state",
    "row_layout",
    "unit_key",
    "scores_sha256",
)
REQUIRED_DATASETS = {
    "scores": ("logprob_sum", "first_token_logprob", "tokens", "characters", "bytes"),
    "activations": ("rows/question", "rows/candidate", "rows/correct"),
}


@dataclass(frozen=True, slots=True)
class FileSummary:
    """A file that keeps to its format."""

    path: Path
    kind: str
    """`scores` or `activations`."""
    head: str
    step: int
    rows: int
    datasets: tuple[str, ...]
    size_bytes: int


def validate(path: Path) -> FileSummary:
    """Read a whole file once and check it against its format.

    Raises:
        StoreError: The file is missing or damaged, or breaks the format; every breach
            is named.
    """
    with opened(path) as file:
        names = dataset_names(file)
        kind = _kind(file)
        problems = [] if kind else [f"unknown convention {file.attrs.get('Conventions')!r}"]
        problems += _attribute_problems(file)
        for name in REQUIRED_DATASETS.get(kind, ()):
            problems += [] if name in names else [f"no dataset {name}"]
        for name in names:
            problems += _dataset_problems(file, path, name)
        if problems:
            raise StoreError(
                f"the file breaks its format: {'; '.join(problems)}",
                where=str(path),
                fix="delete it and run probe collect again",
            )
        return FileSummary(
            path=path,
            kind=kind,
            head=str(file.attrs["head"]),
            step=int(file.attrs["step"]),
            rows=len(file["row"]),
            datasets=names,
            size_bytes=path.stat().st_size,
        )


def _kind(file: h5py.File) -> str:
    stated = file.attrs.get("Conventions")
    return next((kind for kind, value in CONVENTIONS.items() if value == stated), "")


def _attribute_problems(file: h5py.File) -> list[str]:
    problems = [f"no attribute {name}" for name in REQUIRED_ATTRIBUTES if name not in file.attrs]
    if file.attrs.get("complete") != 1:
        problems.append("not marked complete")
    if file.attrs.get("norm_state") != "pre":
        problems.append("residuals are not from before the final norm")
    return problems


def _dataset_problems(file: h5py.File, path: Path, name: str) -> list[str]:
    found, problems = file[name], []
    for axis, dim in enumerate(found.dims):
        if not len(dim) or dim[0].shape != (found.shape[axis],):
            problems.append(f"{name}: axis {axis} has no scale of its length")
    if not found.fletcher32:
        problems.append(f"{name}: no checksum")
    values = read_array(file, path, name)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        problems.append(f"{name}: a value is not finite")
    return problems
