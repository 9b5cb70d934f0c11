"""What a user can choose about a collection."""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

import torch

from critical_phase.errors import ConfigError
from critical_phase.probes.own_collector import OwnCollector
from critical_phase.probes.plan import POSITIONS
from critical_phase.probes.positions import POSITION_NAMES
from critical_phase.probes.residual import SITES, ordered

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
COMPUTE_DTYPES = {"float32": torch.float32, "float64": torch.float64}
DEFAULT_COLLECTORS = ("residual", "attention", "sparsity")
DEFAULT_SITES = ("pre", "post")


@dataclass(frozen=True, slots=True)
class CollectSettings:
    """How rows are read and stored; all but `batch_tokens` and `no_text` decide the files."""

    collectors: tuple[str, ...] = DEFAULT_COLLECTORS
    """Names of COLLECTORS and of `own_collectors`; empty for scores alone."""
    store_dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Type of stored residuals; auto is the model's own."""
    layout: Literal["auto", "packed", "cached", "naive"] = "auto"
    """auto packs the candidates of a question where that is exact; cached is for scores alone."""
    pattern_rows: tuple[int, ...] = ()
    """Rows whose whole attention pattern is kept."""
    batch_tokens: int = 2048
    """Most slots of one forward pass, padding included."""
    no_text: bool = False
    """Leave question and candidate texts out of every file."""
    positions: tuple[str, ...] = POSITIONS
    """Where residuals and what is like them are read; of POSITION_NAMES, in any order."""
    residual_sites: tuple[str, ...] = DEFAULT_SITES
    """Of pre, mid and post; pre and post are one array, and naming one gives both."""
    site_paths: tuple[tuple[str, str], ...] = ()
    """Pairs of site name and module path, for a model that no table knows; see `site_paths`."""
    backend: Literal["hooks", "bridge"] = "hooks"
    """Who runs the model: itself with plain hooks, or TransformerLens' bridge around it."""
    adapter_scale: float = 1.0
    """What the update of every adapter is multiplied by."""
    compute_dtype: Literal["own", "float32", "float64"] = "own"
    """Type that the model is cast to, and left in; own is that it was loaded in."""
    own_collectors: tuple[OwnCollector, ...] = ()
    """Classes from the user's own files; those that `collectors` names are used."""

    def compute(self, model_dtype: torch.dtype) -> torch.dtype:
        """Return the type that the model computes in."""
        return COMPUTE_DTYPES.get(self.compute_dtype, model_dtype)

    def storage(self, model_dtype: torch.dtype) -> torch.dtype:
        """Return the type that residuals are stored in."""
        return model_dtype if self.store_dtype == "auto" else DTYPES[self.store_dtype]

    @property
    def read_positions(self) -> tuple[str, ...]:
        """The positions in the order in which files hold them."""
        return ordered(self.positions, POSITION_NAMES)

    @property
    def read_sites(self) -> tuple[str, ...]:
        """The places of a block; pre and post always come together."""
        stream = {"pre", "post"} if {"pre", "post"} & set(self.residual_sites) else set()
        return ordered([*stream, *self.residual_sites], SITES)

    @property
    def key(self) -> dict[str, Any]:
        """What these settings add to the key of an activations file, defaults left out.

        Files that were made before a setting existed have the key of its default.
        """
        key: dict[str, Any] = {
            "collectors": list(self.collectors),
            "store_dtype": self.store_dtype,
            "pattern_rows": list(self.pattern_rows),
        }
        if self.read_positions != POSITIONS:
            key["positions"] = list(self.read_positions)
        if "residual" in self.collectors and self.read_sites != DEFAULT_SITES:
            key["residual_sites"] = list(self.read_sites)
        if self.site_paths:
            key["site_paths"] = dict(self.site_paths)
        own = [one for one in self.own_collectors if one.name in self.collectors]
        if own:
            key["own_collectors"] = {one.name: one.identity for one in own}
        return key

    def check(self, known: tuple[str, ...], rows: int) -> None:
        """Refuse settings that cannot be used.

        Raises:
            ConfigError: An unknown collector, position or site, a name given twice, a pattern
                row outside the plan, or a batch of no token.
        """
        own = tuple(one.name for one in self.own_collectors)
        if taken := [name for name in own if name in known]:
            raise ConfigError(
                f"collector {taken[0]!r} has the name of one of ours",
                fix="give the class another name",
            )
        _check_names("collector", self.collectors, (*known, *own))
        _check_names("position", self.positions, POSITION_NAMES)
        _check_names("residual site", self.residual_sites, SITES)
        if not self.positions or not self.residual_sites:
            raise ConfigError("no position or no residual site is read", fix="name at least one")
        if odd_rows := [row for row in self.pattern_rows if not 0 <= row < rows]:
            raise ConfigError(
                f"pattern row {odd_rows[0]} is not in the plan", fix=f"choose from 0 to {rows - 1}"
            )
        if self.layout == "cached" and self.collectors:
            raise ConfigError(
                "the layout cached reads scores alone: activations need one pass",
                fix="use the layout auto, or no collectors",
            )
        if self.batch_tokens < 1:
            raise ConfigError(f"batch_tokens is {self.batch_tokens}", fix="give a positive number")


def _check_names(what: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    for place, name in enumerate(given):
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(f"no {what} {name!r}", fix=f"{hint}choose from {', '.join(known)}")
        if name in given[:place]:
            raise ConfigError(f"{what} {name!r} is given twice", fix="name it once")
