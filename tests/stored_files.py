"""Small activations files with known values, for tests of readers."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from critical_phase.probes.collector import Dataset
from critical_phase.probes.store import write_file

ROWS = np.arange(6, dtype=np.int32)
ATTRIBUTES = {
    "head": "base",
    "step": 0,
    "adapter_sha256": "",
    "base_sha256": "b",
    "plan_sha256": "p",
    "compute_dtype": "float32",
    "device": "cpu",
    "merged": 0,
    "norm_state": "pre",
    "row_layout": "packed",
    "unit_key": "{}",
    "scores_sha256": "s",
}


def residual(dtype: torch.dtype = torch.float32) -> tuple[Dataset, torch.Tensor]:
    values = torch.randn(3, 6, 2, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    return Dataset("residual", ("layer", "row", "position", "d_model"), dtype, "test"), values


def write(path: Path, *arrays: tuple[Dataset, torch.Tensor]) -> Path:
    coordinates: dict[str, Any] = {
        "row": ROWS,
        "layer": np.arange(-1, 2, dtype=np.int32),
        "position": ("question_end", "answer_end"),
        "d_model": np.arange(8, dtype=np.int32),
    }
    identity = [
        (Dataset(f"rows/{name}", ("row",), torch.int32, "test"), torch.arange(6).int())
        for name in ("question", "candidate", "correct")
    ]
    write_file(path, "activations", [*arrays, *identity], coordinates, ATTRIBUTES)
    return path


def layered(path: Path, dtype: torch.dtype, step: int = 0, rows: int = 300) -> torch.Tensor:
    """Write residuals of several chunks per layer, the last of them padded."""
    generator = torch.Generator().manual_seed(step)
    values = torch.randn(3, rows, 2, 1024, generator=generator).to(dtype)
    dims = ("layer", "row", "position", "d_model")
    coordinates: dict[str, Any] = {
        "layer": np.arange(-1, 2, dtype=np.int32),
        "row": np.arange(rows, dtype=np.int32),
        "position": ("question_end", "answer_end"),
        "d_model": np.arange(1024, dtype=np.int32),
    }
    attributes = ATTRIBUTES | {"head": "positive", "step": step}
    array = (Dataset("residual", dims, dtype, "test"), values)
    write_file(path, "activations", [array], coordinates, attributes)
    return values


def flip_bit(path: Path, dataset: str, chunk: int = 0) -> None:
    """Change one bit of one stored value."""
    with h5py.File(path) as file:
        place = file[dataset].id.get_chunk_info(chunk).byte_offset
    content = bytearray(path.read_bytes())
    content[place + 9] ^= 16
    path.write_bytes(content)
