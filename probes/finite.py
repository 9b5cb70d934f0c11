"""Find values that are not numbers, and values that float16 turned into infinity."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from critical_phase.errors import StoreError
from critical_phase.probes.collector import Coordinate, Dataset

COUNT = "non_finite"
FIRST = "non_finite_first"
"""Attributes of a file: how many values are not finite, and where the first of them is."""
_LAYERS = ("layer", "block")
_AT_ONCE = 1 << 22
_CHECKED = ("residual", "residual_mid")
"""Datasets whose collector compares every value before it is rounded: what is infinite here
was infinite in the model."""


@dataclass(frozen=True, slots=True)
class NonFinite:
    """A file with values that are infinite or not a number."""

    file: Path
    count: int
    """Values, over all datasets of the file."""
    first: str
    """Dataset, layer and row of the first one."""


def count_non_finite(values: Tensor) -> int:
    """Count infinities and NaN; a finite sum proves quickly that there are none."""
    if not values.dtype.is_floating_point:
        return 0
    # A part at a time: sums of two-byte floats make a copy, and the array may lie on disk.
    return sum(_count(part) for part in torch.split(values.reshape(-1), _AT_ONCE))


def _count(values: Tensor) -> int:
    if bool(torch.isfinite(values.sum(dtype=torch.float32))):
        return 0
    return int(values.numel() - torch.isfinite(values).sum())


def first_place(dataset: Dataset, wrong: Tensor, coordinates: Mapping[str, Coordinate]) -> str:
    """Name the dataset, layer and row of the first True of `wrong`, layer by layer."""
    index = wrong.nonzero()[0].tolist()
    parts = [dataset.name]
    for dim, at in zip(dataset.dims, index, strict=True):
        if dim in (*_LAYERS, "row"):
            values = coordinates.get(dim)
            parts.append(f"{dim} {at if values is None else values[at]}")
    return ", ".join(parts)


def non_finite_attributes(
    arrays: Iterable[tuple[Dataset, Tensor]], coordinates: Mapping[str, Coordinate]
) -> dict[str, str | int]:
    """Count over all datasets of a file and name the first place, if there is one."""
    total, first = 0, ""
    for dataset, values in arrays:
        count = count_non_finite(values)
        if count and not total:
            first = first_place(dataset, ~torch.isfinite(values), coordinates)
        total += count
    return {COUNT: total} | ({FIRST: first} if total else {})


def refuse_overflow(
    arrays: Iterable[tuple[Dataset, Tensor]],
    coordinates: Mapping[str, Coordinate],
    compute_dtype: str,
) -> None:
    """Refuse infinities in float16 datasets of a model that computes in another type.

    It is the net under collectors that round without a look; they cannot be told from an
    infinity of the model.

    Raises:
        StoreError: float16 cannot hold a value, or the model gave an infinity itself.
    """
    if compute_dtype == "float16":
        return
    for dataset, values in arrays:
        if values.dtype != torch.float16 or dataset.name in _CHECKED:
            continue
        if not count_non_finite(values):
            continue
        wrong = torch.isinf(values)
        if bool(wrong.any()):
            raise StoreError(
                "float16 cannot hold a value above 65504 in "
                f"{first_place(dataset, wrong, coordinates)} ({int(wrong.sum())} such values)",
                where=dataset.hook_name or dataset.name,
                fix="store with --store-dtype auto or float32",
            )


def non_finite_files(files: Sequence[Path]) -> tuple[NonFinite, ...]:
    """List the files that state values that are not finite; files that are not there are passed.

    Raises:
        StoreError: A file is damaged.
    """
    from critical_phase.probes.store import read_attrs  # it imports this module

    found = []
    for file in files:
        attributes = read_attrs(file) if file.is_file() else {}
        if count := int(attributes.get(COUNT, 0)):
            found.append(NonFinite(file, count, str(attributes.get(FIRST, ""))))
    return tuple(found)
