"""How large a synthetic run is, and how its values move over training."""

from dataclasses import dataclass

import numpy as np
import torch

JUMP = 0.45
"""Where training jumps, as a share of its steps."""


@dataclass(frozen=True)
class Size:
    """How large a run is; the defaults are those of a model of 7 billion parameters."""

    layers: int
    checkpoints: int = 65
    rows: int = 2000
    width: int = 4096
    heads: tuple[str, ...] = ("negative",)
    attention_heads: int = 32
    keys: int = 128
    """Tokens of the longest row."""
    rank: int = 16
    adapted_layers: int | None = None
    """Layers of the adapters, those stored if left out."""
    adapter_dtype: torch.dtype = torch.float32
    store_dtype: torch.dtype = torch.bfloat16
    base_weights: bool = False
    """Whether one layer's weights of a base model lie in the folder; they serve every layer."""

    @property
    def modules(self) -> dict[str, tuple[int, int]]:
        """Outputs and inputs of the linear maps of a layer, by name."""
        d, wide = self.width, round(self.width * 2.6875)  # 11008 of 4096
        maps = {f"self_attn.{name}_proj": (d, d) for name in "qkvo"}
        return maps | {
            "mlp.gate_proj": (wide, d),
            "mlp.up_proj": (wide, d),
            "mlp.down_proj": (d, wide),
        }


def course(size: Size, step: int) -> tuple[float, float]:
    """Return how far the smooth drift and the jump are, 0 at the first checkpoint."""
    done = step / max(1, size.checkpoints - 1)
    jump = 1 / (1 + np.exp(-(done - JUMP) * 80))
    return float(done), float(jump) if step else 0.0
