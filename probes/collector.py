"""What every collector promises: it declares datasets, hangs on sites, and fills rows.

A collector reduces inside its hook by an advanced-index copy: a slice would be a view
that keeps a whole [batch, token, d] tensor alive.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from critical_phase.probes.batches import Batch, Packer
from critical_phase.probes.last_mlp import LastMlp
from critical_phase.probes.plan import POSITIONS, Plan
from critical_phase.probes.scoring import Scores
from critical_phase.probes.sites import Sites
from critical_phase.probes.transfer import Transfer

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
    """What the base model fixes for every checkpoint's sparsity at one kind of site."""

    eps: Float[np.ndarray, " site"]
    """Per site: mean + one standard deviation of abs(x) over all rows at answer_end."""
    massive: Int[np.ndarray, "site k"]
    """Per site: the k = max(1, ceil(d / 100)) dimensions of largest mean abs(x)."""


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
    """Of the MLPs, per block."""
    residual_calibration: Calibration | None = None
    """Of the residual stream, per layer from -1 on."""
    positions: tuple[str, ...] = POSITIONS
    """Where residuals and what is like them are read; of POSITION_NAMES, in that order."""
    residual_sites: tuple[str, ...] = ("pre", "post")
    """Of `pre`, `mid`, `post`; the stream between blocks is both pre and post."""
    pattern_rows: tuple[int, ...] = ()
    """Rows whose whole attention pattern is kept."""
    coordinates: dict[str, Coordinate] = field(default_factory=dict)
    transfer: Transfer = field(default_factory=Transfer)
    """Brings values from the device to the host."""
    last_mlp: LastMlp | None = None
    """Runs the last MLP on the slots that are read alone; None where it runs on all."""
    last_mlp_reason: str = "all tokens: nothing was decided"
    """Why, in one sentence."""

    @property
    def among(self) -> Tensor | None:
        """Where each slot is in what a hook inside the last MLP gets; None if it gets all."""
        return None if self.last_mlp is None else self.last_mlp.among

    @property
    def max_keys(self) -> int:
        """Tokens of the longest row."""
        return int(self.plan.key_length.max())


@runtime_checkable
class Collector(Protocol):
    """An instrument that hangs on the model while batches run through it.

    A class may also set `version` (1 unless given): a higher one says that what it writes
    changed, so that files of the older one are not taken for finished.
    """

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
        """Copy what the last forward pass gave into the rows of `arrays`.

        Values that go through `scene.transfer` are written a few passes later, so that the
        device need not wait; `.cpu()` is as exact and holds the device up.
        """


@runtime_checkable
class OfAdapter(Collector, Protocol):
    """A collector that reads an adapter: files of the base model have none of its datasets."""

    absent: ClassVar[str]
    """Why, in one sentence: it becomes an attribute of those files."""


@runtime_checkable
class SecondPass(Collector, Protocol):
    """A collector that sends the rows through the model again once all scores are known."""

    def second_pass(self, packer: Packer, scores: Scores, arrays: Arrays) -> None:
        """Run the model and fill the rows of `arrays`; the other collectors are detached."""


def version_of(kind: type[Any]) -> int:
    """Return the version of what a collector writes."""
    return int(getattr(kind, "version", 1))
