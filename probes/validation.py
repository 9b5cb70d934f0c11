"""Check a stored file against the format document (docs/format.md)."""

import json
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from critical_phase.errors import StoreError
from critical_phase.probes.finite import COUNT
from critical_phase.probes.reading import dataset_names, opened, read_array, read_axes
from critical_phase.probes.store import CONVENTIONS

_OF_ALL = (
    "head",
    "step",
    "adapter_sha256",
    "base_sha256",
    "plan_sha256",
    "compute_dtype",
    "device",
    "merged",
    "unit_key",
)
_OF_ROWS = (*_OF_ALL, "norm_state", "row_layout", "scores_sha256")
REQUIRED_ATTRIBUTES = {
    "scores": _OF_ROWS,
    "activations": _OF_ROWS,
    "effects": (*_OF_ALL, "texts_sha256", "examples_sha256", "base_logprobs", "values_sha256"),
}
REQUIRED_DATASETS = {
    "scores": ("logprob_sum", "first_token_logprob", "tokens", "characters", "bytes"),
    "activations": ("rows/question", "rows/candidate", "rows/correct"),
    "effects": ("kl_question", "kl_question_end"),
}
OF_COLLECTORS = {
    "residual": ("residual", "residual_mid"),
    "attention": ("attention_row",),
    "sparsity": ("sparsity",),
    "residual_sparsity": ("residual_sparsity",),
    "margin_gradient": ("margin_gradient",),
    "head_output": ("head_output_norm",),
    "head_importance": ("head_importance",),
}
"""Datasets of which a collector that `unit_key` names leaves at least one."""
TOGETHER = (
    ("kl_text", "kl_text_reverse", "nll_text", "tokens_text", "windows_text"),
    ("gradient_sq", "gradient_mean_sq", "loss_example"),
)
"""Datasets of an effects file that are all there or all absent; none is ever negative."""


@dataclass(frozen=True, slots=True)
class FileSummary:
    """A file that keeps to its format."""

    path: Path
    kind: str
    """`scores`, `activations` or `effects`."""
    head: str
    step: int
    rows: int
    """Rows of the plan; questions in an effects file."""
    datasets: tuple[str, ...]
    size_bytes: int
    non_finite: int
    """Values that are infinite or not a number, as the file states; 0 but in activations."""


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
        problems += _attribute_problems(file, kind)
        for name in REQUIRED_DATASETS.get(kind, ()):
            problems += [] if name in names else [f"no dataset {name}"]
        problems += _promise_problems(file, names) if kind == "activations" else []
        read_axes(file)
        found = 0
        for name in names:
            breaches, count = _dataset_problems(file, path, name)
            problems += breaches
            found += count
        problems += _non_finite_problems(file, kind, found)
        problems += _effect_problems(file, path, names) if kind == "effects" else []
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
            rows=len(file["question" if kind == "effects" else "row"]),
            datasets=names,
            size_bytes=path.stat().st_size,
            non_finite=found,
        )


def _kind(file: h5py.File) -> str:
    stated = file.attrs.get("Conventions")
    return next((kind for kind, value in CONVENTIONS.items() if value == stated), "")


def _promise_problems(file: h5py.File, names: tuple[str, ...]) -> list[str]:
    """Name collectors that the file says it was made with and that left nothing in it."""
    try:
        key = json.loads(str(file.attrs.get("unit_key", "{}")))
    except json.JSONDecodeError:
        return ["unit_key is not JSON"]
    return [
        f"nothing of the collector {name}"
        for name in key.get("collectors", ())
        if name in OF_COLLECTORS and f"{name}_absent" not in file.attrs
        if not set(OF_COLLECTORS[name]) & set(names)
    ]


def _attribute_problems(file: h5py.File, kind: str) -> list[str]:
    required = REQUIRED_ATTRIBUTES.get(kind, _OF_ALL)
    problems = [f"no attribute {name}" for name in required if name not in file.attrs]
    if file.attrs.get("complete") != 1:
        problems.append("not marked complete")
    if "norm_state" in required and file.attrs.get("norm_state") != "pre":
        problems.append("residuals are not from before the final norm")
    return problems


def _dataset_problems(file: h5py.File, path: Path, name: str) -> tuple[list[str], int]:
    """Name breaches of one dataset, and count its values that are not finite."""
    found, problems = file[name], []
    for axis, dim in enumerate(found.dims):
        if not len(dim) or dim[0].shape != (found.shape[axis],):
            problems.append(f"{name}: axis {axis} has no scale of its length")
    if not found.fletcher32:
        problems.append(f"{name}: no checksum")
    values = read_array(file, path, name)
    count = int(values.size - np.isfinite(values).sum()) if values.dtype.kind == "f" else 0
    stated = int(found.attrs.get(COUNT, 0))
    if count != stated:
        problems.append(f"{name}: {count} values are not finite, {stated} stated")
    return problems, count


def _non_finite_problems(file: h5py.File, kind: str, count: int) -> list[str]:
    """Only activations may have values that are not finite, and must say how many."""
    if count and kind in ("scores", "effects"):
        return [f"{count} values are not finite, which {kind} must be"]
    stated = int(file.attrs.get(COUNT, 0))
    return [] if stated == count else [f"{count} values are not finite, the root states {stated}"]


def _effect_problems(file: h5py.File, path: Path, names: tuple[str, ...]) -> list[str]:
    """Name groups of datasets that are not whole, and values that cannot be."""
    problems = []
    if file.attrs.get("head") == "base" and "gradient_sq" in names:
        problems.append("gradient_sq: the base has no adapter")
    for group in TOGETHER:
        absent = [name for name in group if name not in names]
        if len(absent) < len(group):
            problems += [f"no dataset {name}" for name in absent]
    for name in {*REQUIRED_DATASETS["effects"], *TOGETHER[0], *TOGETHER[1]} & set(names):
        if (read_array(file, path, name) < 0).any():
            problems.append(f"{name}: a value is negative")
    return sorted(problems)
