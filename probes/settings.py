"""What a user can choose about a collection."""

from dataclasses import dataclass
from typing import Literal

import torch

from critical_phase.errors import ConfigError

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


@dataclass(frozen=True, slots=True)
class CollectSettings:
    """How rows are read and stored; all but `batch_tokens` and `no_text` decide the files."""

    collectors: tuple[str, ...] = ("residual", "attention", "sparsity")
    """Names of COLLECTORS; empty for scores alone."""
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

    def storage(self, model_dtype: torch.dtype) -> torch.dtype:
        """Return the type that residuals are stored in."""
        return model_dtype if self.store_dtype == "auto" else DTYPES[self.store_dtype]

    def check(self, known: tuple[str, ...], rows: int) -> None:
        """Refuse settings that cannot be used.

        Raises:
            ConfigError: An unknown collector, a pattern row outside the plan, or a
                batch of no token.
        """
        if odd := [name for name in self.collectors if name not in known]:
            raise ConfigError(f"no collector {odd[0]!r}", fix=f"choose from {', '.join(known)}")
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
