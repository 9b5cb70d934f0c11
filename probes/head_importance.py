"""How much the margin of each question depends on each attention head.

Every head gets a gate of 1 that multiplies its output at all tokens (Michel, Levy, Neubig,
"Are sixteen heads really better than one?", arXiv 1905.10650, section 4.1). The gradient of
the margin with respect to the gate is the sum over tokens of z . d margin / d z, z being
what the head gives. Their importance is its absolute value, averaged over questions; here
it is kept per question and with its sign.
"""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from critical_phase.probes.batches import Batch, Packer
from critical_phase.probes.collector import Arrays, Coordinate, Dataset, Scene
from critical_phase.probes.head_site import HOOK_NAME, by_head
from critical_phase.probes.hooks import Hook, Hooks
from critical_phase.probes.margin_pass import MarginPass
from critical_phase.probes.positions import by_line
from critical_phase.probes.scoring import Scores
from critical_phase.probes.sites import need


class HeadImportance:
    """Reads d margin / d gate of every attention head, in nats, the same in a question's rows.

    The gate acts on the question's tokens and on those of the right and the best wrong
    candidate; of tokens that candidates share the effect on both counts.
    """

    name: ClassVar[str] = "head_importance"

    def __init__(self, scene: Scene) -> None:
        """Note the sites.

        Raises:
            CheckpointError: Some block has no output projection that is proved.
        """
        need(scene.model, scene.sites, "attention_out")
        self._scene = scene
        self._hooks = [
            Hook(module, "input", lambda x, at=block: self._gate(at, x))  # type: ignore[misc]
            for block, module in enumerate(scene.sites.attention_out)
        ]
        self._gates: dict[int, Tensor] = {}
        self._slopes: Tensor | None = None
        self._pass: MarginPass | None = None
        self._batch: Batch | None = None

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """One signed number per block, row and attention head."""
        about = (
            "gradient of the question's margin (right minus best wrong summed log-likelihood) "
            "with respect to a gate of 1 on the head's output at all tokens, nats; the same in "
            "all rows of a question"
        )
        dims = ("block", "row", "attention_head")
        return (Dataset("head_importance", dims, torch.float32, about, HOOK_NAME),)

    @property
    def coordinates(self) -> dict[str, Coordinate]:
        """Blocks and attention heads are numbered from 0."""
        return {
            "block": np.arange(self._scene.sites.layers, dtype=np.int32),
            "attention_head": np.arange(self._scene.attention_heads, dtype=np.int32),
        }

    def attached(self) -> Hooks:
        """Hang on the input of every attention's output projection."""
        return Hooks(self._hooks)

    def start(self, batch: Batch) -> None:
        """Put gates on the heads of this batch next."""
        self._batch, self._slopes = batch, None
        self._gates.clear()

    def store(self, arrays: Arrays) -> None:
        """Add every line's gradients to its question, at the question's first row."""
        assert self._batch is not None
        assert self._pass is not None
        assert self._slopes is not None
        owner = self._batch.owner
        first, leaders = self._pass.leading(self._batch.rows, owner)
        values = self._slopes.cpu()[:, owner.cpu()[first]]
        arrays["head_importance"].index_add_(1, leaders, values)

    def second_pass(self, packer: Packer, scores: Scores, arrays: Arrays) -> None:
        """Send all rows through the model again and take gradients.

        Raises:
            CheckpointError: The second pass gives other scores than the first.
        """
        self._pass = MarginPass(self._scene, scores)
        target = arrays["head_importance"].zero_()
        self._pass.run(packer, self, arrays)
        leader = torch.from_numpy(self._pass.leader)
        for block in target:
            block.copy_(block[leader])

    def differentiate(self, margin: Tensor) -> None:
        """Take the gradients of all gates of a batch [block, line, attention_head]."""
        gates = [self._gates.pop(block) for block in range(self._scene.sites.layers)]
        self._slopes = torch.stack(torch.autograd.grad(margin, gates)).float()

    def _gate(self, block: int, x: Tensor) -> Tensor:
        """Multiply every head of every line with a gate of its own, which is 1."""
        assert self._batch is not None
        z = by_head(by_line(x, self._batch), self._scene.attention_heads)
        kind = torch.promote_types(x.dtype, torch.float32)  # sums over tokens are not rounded
        gate = torch.ones(len(z), z.shape[2], dtype=kind, device=x.device, requires_grad=True)
        self._gates[block] = gate
        return (z * gate[:, None, :, None]).to(x.dtype).reshape(x.shape)
