"""Gradient of each question's margin with respect to the residual stream.

The margin is the log-likelihood of the right candidate minus that of the best wrong one,
both summed over their tokens. The rows go through the model once more, with gradients
and with no other instrument attached, so what was collected before does not change.
"""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from critical_phase.errors import ConfigError
from critical_phase.probes.batches import Batch, Packer
from critical_phase.probes.collector import Arrays, Coordinate, Dataset, Scene
from critical_phase.probes.hooks import Hook, Hooks
from critical_phase.probes.margin_pass import MarginPass
from critical_phase.probes.plan import POSITIONS
from critical_phase.probes.positions import Positions
from critical_phase.probes.residual import stream_modules
from critical_phase.probes.scoring import Scores

HOOK_NAME = "blocks.{layer}.hook_resid_post; layer -1 is blocks.0.hook_resid_pre"
_SHARED, _NEVER = POSITIONS


class MarginGradient:
    """Reads d margin / d residual of every layer, in nats per unit of the stream.

    At question_end it is the gradient with respect to the vector that all candidates
    share, so the rows of one question hold the same values. At answer_mean it is the
    mean over the candidate's own tokens; only the right and the best wrong candidate
    have any. At answer_end it would be 0 everywhere, because no scored token comes
    after it, and is left out.
    """

    name: ClassVar[str] = "margin_gradient"

    def __init__(self, scene: Scene) -> None:
        """Note the sites.

        Raises:
            ConfigError: Only answer_end is read.
        """
        self._scene = scene
        self._names = tuple(name for name in scene.positions if name != _NEVER)
        if not self._names:
            raise ConfigError(
                "the gradient of the margin at answer_end is 0: no scored token comes after it",
                fix="add question_end or answer_mean to --positions",
            )
        self._hooks = [
            Hook(module, "input", lambda x, at=index: self._watch(at, x))  # type: ignore[misc]
            for index, module in enumerate(stream_modules(scene))
        ]
        self._values: dict[int, Tensor] = {}
        self._pass: MarginPass | None = None
        self._start: Tensor | None = None
        self._batch: Batch | None = None
        self._positions: Positions | None = None

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """The gradient, and per row which part of the margin it is."""
        dims = ("layer", "row", "gradient_position", "d_model")
        about = (
            "gradient of the question's margin (right minus best wrong summed log-likelihood), "
            "nats per unit of the stream; answer_end is left out, it is 0 everywhere"
        )
        sign = "1: right candidate, -1: best wrong one by summed log-likelihood, 0: neither"
        tied = "wrong candidates that share the best score; the first of them has sign -1"
        row = ("row",)
        return (
            Dataset("margin_gradient", dims, torch.float32, about, HOOK_NAME),
            Dataset("margin", row, torch.float32, "margin of the row's question, nats"),
            Dataset("margin_sign", row, torch.int32, sign),
            Dataset("margin_tied", row, torch.int32, tied),
        )

    @property
    def coordinates(self) -> dict[str, Coordinate]:
        """Layers as in `residual`; positions without answer_end."""
        return {
            "layer": np.arange(-1, self._scene.sites.layers, dtype=np.int32),
            "gradient_position": self._names,
            "d_model": np.arange(self._scene.d_model, dtype=np.int32),
        }

    def attached(self) -> Hooks:
        """Hang on the input of every block and of the final norm."""
        return Hooks(self._hooks)

    def start(self, batch: Batch) -> None:
        """Read the rows of this batch next."""
        self._batch, self._start = batch, None
        self._positions = Positions(self._scene.plan, batch, self._names)
        self._values.clear()

    def store(self, arrays: Arrays) -> None:
        """Copy every layer's gradients to its rows; those of question_end are added up."""
        assert self._batch is not None
        target, rows = arrays["margin_gradient"], torch.from_numpy(self._batch.rows)
        together = torch.stack([self._values.pop(i) for i in range(len(self._hooks))]).cpu()
        for place, name in enumerate(self._names):
            values = together[:, :, place]
            if name != _SHARED:
                target[:, :, place].index_copy_(1, rows, values)
                continue
            # Rows of one line share the vector: it counts once. Lines of one question add up.
            assert self._pass is not None
            first, leaders = self._pass.leading(self._batch.rows, self._batch.owner)
            target[:, :, place].index_add_(1, leaders, values[:, first])

    def second_pass(self, packer: Packer, scores: Scores, arrays: Arrays) -> None:
        """Send all rows through the model again and take gradients.

        Raises:
            CheckpointError: The second pass gives other scores than the first.
        """
        self._pass = MarginPass(self._scene, scores)
        arrays["margin_gradient"].zero_()
        self._pass.run(packer, self, arrays)
        if _SHARED in self._names:
            place = self._names.index(_SHARED)
            leader = torch.from_numpy(self._pass.leader)
            for layer in arrays["margin_gradient"]:  # one at a time: a copy of all may be large
                layer[:, place] = layer[leader, place]
        found = self._pass.margins
        arrays["margin"].copy_(torch.from_numpy(found.value))
        arrays["margin_sign"].copy_(torch.from_numpy(found.sign))
        arrays["margin_tied"].copy_(torch.from_numpy(found.tied))

    def differentiate(self, margin: Tensor) -> None:
        """Take the gradient of the first layer; those of later ones are read on its way."""
        assert self._start is not None
        (at_start,) = torch.autograd.grad(margin, self._start)
        self._take(0, at_start)
        self._start = None

    def _watch(self, index: int, x: Tensor) -> Tensor | None:
        """Begin the graph at the first layer, and read the gradient of later ones on its way."""
        if index == 0:
            self._start = x.detach().requires_grad_(True)
            return self._start
        x.register_hook(lambda gradient: self._take(index, gradient))  # type: ignore[no-untyped-call]
        return None

    def _take(self, index: int, gradient: Tensor) -> None:
        assert self._positions is not None
        with torch.no_grad():
            self._values[index] = self._positions.read(gradient).float()
