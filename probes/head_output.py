"""How large what each attention head gives is: its values, weighted by its attention.

A head may look at a token whose value is small: the weight alone does not say what it moves
(Kobayashi et al., "Attention is not only a weight", arXiv 2004.10102, section 3).
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from critical_phase.probes.batches import Batch
from critical_phase.probes.collector import Arrays, Coordinate, Dataset, Scene
from critical_phase.probes.head_site import HOOK_NAME, by_head
from critical_phase.probes.hooks import Hook, Hooks
from critical_phase.probes.positions import Positions
from critical_phase.probes.sites import need

OUTPUT, WRITE = "head_output_norm", "head_write_norm"


class HeadOutput:
    """Reads the norm of each head's sum_j p_ij v_j, before and after its part of the projection.

    At answer_mean it is the norm of the mean over the candidate's own tokens.
    """

    name: ClassVar[str] = "head_output"

    def __init__(self, scene: Scene) -> None:
        """Note the sites.

        Raises:
            CheckpointError: Some block has no output projection that is proved.
        """
        need(scene.model, scene.sites, "attention_out")
        self._scene = scene
        self._modules = scene.sites.attention_out
        self._values: dict[int, Tensor] = {}
        self._products: dict[int, Tensor] = {}
        """Products of the columns of each head's part of the projection, for one checkpoint."""
        self._batch: Batch | None = None
        self._positions: Positions | None = None

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """Both norms per block, row, position and attention head."""
        dims = ("block", "row", "position", "attention_head")
        head = "Euclidean norm of what the head gives, its values weighted by its attention, "
        return (
            Dataset(OUTPUT, dims, torch.float32, head + "before the output projection", HOOK_NAME),
            Dataset(
                WRITE,
                dims,
                torch.float32,
                head + "after its part of the output projection, without bias: in units of the "
                "residual stream",
                HOOK_NAME,
            ),
        )

    @property
    def coordinates(self) -> dict[str, Coordinate]:
        """Blocks and attention heads are numbered from 0."""
        return {
            "block": np.arange(self._scene.sites.layers, dtype=np.int32),
            "position": self._scene.positions,
            "attention_head": np.arange(self._scene.attention_heads, dtype=np.int32),
        }

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Hang on the input of every output projection; its weights are looked at anew."""
        self._products.clear()
        read = (functools.partial(self._read, i) for i in range(len(self._modules)))
        with Hooks([Hook(m, "input", f) for m, f in zip(self._modules, read, strict=True)]):
            yield
        self._products.clear()

    def start(self, batch: Batch) -> None:
        """Read the rows of this batch next."""
        self._batch = batch
        self._positions = Positions(self._scene.plan, batch, self._scene.positions)
        self._values.clear()

    def store(self, arrays: Arrays) -> None:
        """Copy every block's norms to its rows."""
        assert self._batch is not None
        rows = torch.from_numpy(self._batch.rows)
        found = [self._norms(block, self._values.pop(block)) for block in range(len(self._modules))]
        for name, values in zip((OUTPUT, WRITE), zip(*found, strict=True), strict=True):
            write = functools.partial(arrays[name].index_copy_, 1, rows)
            self._scene.transfer.send(torch.stack(values).float(), write)

    def _read(self, block: int, x: Tensor) -> None:
        assert self._positions is not None
        self._values[block] = self._positions.read(x)

    def _norms(self, block: int, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return both norms [row, position, attention_head] of one block."""
        if block not in self._products:
            self._products[block] = head_products(
                self._modules[block], self._scene.attention_heads, values
            )
        products = self._products[block]
        z = by_head(values.to(products.dtype), self._scene.attention_heads)
        squares = torch.einsum("rphd,hde,rphe->rph", z, products, z)
        return torch.linalg.vector_norm(z, dim=-1), squares.clamp(min=0.0).sqrt()


@torch.no_grad()
def head_products(
    projection: nn.Module, heads: int, like: Tensor
) -> Float[Tensor, "attention_head d_head d_head"]:
    """Return W^T W of each head's part W of an output projection: |W z|^2 = z . (W^T W z).

    Args:
        projection: The module as it stands, with whatever adapter is in it.
        heads: Attention heads.
        like: What goes into it [..., attention_head * d_head], for width, type and device.
    """
    columns = _columns(projection, like).to(torch.promote_types(like.dtype, torch.float32))
    parts = columns.reshape(heads, -1, columns.shape[-1])
    return torch.bmm(parts, parts.transpose(1, 2))


def _columns(projection: nn.Module, like: Tensor) -> Float[Tensor, "width d_model"]:
    """Return what a projection makes of each of its inputs, without its bias."""
    weight: Any = getattr(projection, "weight", None)
    if type(projection) is nn.Linear:  # quantised ones are classes below it
        return weight.T  # type: ignore[no-any-return]
    if type(projection) is Conv1D:
        return weight  # type: ignore[no-any-return]
    # Adapters beside the weights, quantised weights: what the module itself makes of each one.
    # `forward` alone: hooks on the module would take this for a pass of the model.
    one = torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)[None]
    made: Tensor = projection.forward(one)[0]
    none: Tensor = projection.forward(torch.zeros_like(one[:, :1]))[0]
    return made - none
