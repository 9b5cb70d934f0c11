"""The weights of a whole model on disk, read one tensor at a time."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from critical_phase.checkpoints.folders import full_files
from critical_phase.errors import CheckpointError

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class FullWeights(Mapping[str, torch.Tensor]):
    """The tensors of one model folder by name; none is kept in memory."""

    def __init__(self, folder: Path) -> None:
        """Read the names, of one file or of all shards.

        Raises:
            CheckpointError: A file is missing or damaged.
        """
        self.folder = folder
        self._files = full_files(folder)

    def __getitem__(self, name: str) -> torch.Tensor:
        """Read one tensor."""
        with _opened(self._files[name]) as file:
            tensor: torch.Tensor = file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        """Go through the names, sorted."""
        return iter(sorted(self._files))

    def __len__(self) -> int:
        """Count the tensors."""
        return len(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one tensor from the header alone."""
        with _opened(self._files[name]) as file:
            return tuple(file.get_slice(name).get_shape())

    def dtype(self, name: str) -> torch.dtype:
        """Return the type of one tensor from the header alone."""
        with _opened(self._files[name]) as file:
            code = str(file.get_slice(name).get_dtype())
        if code not in _DTYPES:
            raise CheckpointError(f"{name} has the unknown type {code}", where=str(self.folder))
        return _DTYPES[code]


def difference_norm(weights: FullWeights, base: FullWeights) -> float:
    """Return the Frobenius norm of what training changed, over all tensors of both.

    Raises:
        CheckpointError: The two hold other tensors or other shapes.
    """
    if odd := sorted(set(weights) ^ set(base)):
        raise CheckpointError(
            f"{len(odd)} tensors are in only one of checkpoint and base, first {odd[0]!r}",
            where=str(weights.folder),
        )
    total = 0.0
    for name in weights:
        new, old = weights[name].double(), base[name].double()
        if new.shape != old.shape:
            raise CheckpointError(
                f"{name} is {tuple(new.shape)}, but the base has {tuple(old.shape)}",
                where=str(weights.folder),
            )
        total += float((new - old).square().sum())
    return float(total**0.5)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:  # safetensors has no types for its slices
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read the weights: {error}", where=str(path)) from error
