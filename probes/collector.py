"""What every collector promises: it declares datasets, hangs on sites, and fills rows.

A collector reduces inside its hook by an advanced-index copy: a slice would be a view
that keeps a whole [batch, token, d] tensor alive.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from critical_phase.probes.batches import Batch
from critical_phase.probes.plan import Plan
from critical_phase.probes.sites import Sites

Arrays = dict[str, Tensor]
Coordinate = np.ndarray | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """One array of an activations file, before its values are known."""

    name: str
    """Path in the file."""
    dims: tuple[str, ...]
    """Names of its axes; each is a dimension scale of the file."""
    dtype: torch.dtype
    about: str
    """What a value is, with its unit or range."""
    hook_name: str = ""
    """TransformerLens name of the site, `{block}` standing for the block's number."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """What the base model fixes for every checkpoint's sparsity."""

    eps: Float[np.ndarray, " block"]
    """Per block: mean + one standard deviation of abs(x) over all rows at answer_end."""
    massive: Int[np.ndarray, "block k"]
    """Per block: the k = max(1, ceil(d / 100)) dimensions of largest mean abs(x)."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What a collector may know when it is built."""

    model: torch.nn.Module
    sites: Sites
    plan: Plan
    storage_dtype: torch.dtype
    """Type of stored residuals."""
    d_model: int
    attention_heads: int
    attention_way: str = "interface"
    """`interface` keeps sdpa and computes one row; `eager` reads the model's own weights."""
    calibration: Calibration | None = None
    pattern_rows: tuple[int, ...] = ()
    """Rows whose whole attention pattern is kept."""
    coordinates: dict[str, Coordinate] = field(default_factory=dict)

    @property
    def max_keys(self) -> int:
        """Tokens of the longest row."""
        return int(self.plan.key_length.max())


@runtime_checkable
class Collector(Protocol):
    """An instrument that hangs on the model while batches run through it."""

    name: ClassVar[str]

    def __init__(self, scene: Scene) -> None:
        """Note what to read; the model is not touched."""

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """Arrays that this collector fills."""

    @property
    def coordinates(self) -> dict[str, Coordinate]:
        """Values along each axis that its datasets use, beyond `row`."""

    def attached(self) -> AbstractContextManager[object]:
        """Hang on the model for the length of a block."""

    def start(self, batch: Batch) -> None:
        """Be told where the next forward pass is read."""

    def store(self, arrays: Arrays) -> None:
        """Copy what the last forward pass gave into the rows of `arrays`."""
