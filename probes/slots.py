"""The model of a collection: the base alone, or with a slot for adapters or full weights."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from critical_phase.checkpoints import AdapterSlot, Checkpoint, FullSlot
from critical_phase.errors import CheckpointError
from critical_phase.probes.landing import (
    check_landing,
    fresh_full_logits,
    fresh_logits,
    is_neutral,
    is_whole,
    plain_logits,
)
from critical_phase.probes.plan import Plan
from critical_phase.probes.units import Unit


class ModelSlot:
    """Holds one unit at a time in a model that is loaded once."""

    def __init__(self, model: Any, slot: AdapterSlot | FullSlot | None) -> None:
        """Use `open`."""
        self.model = model
        """What is called and hooked."""
        self._slot = slot

    @classmethod
    def open(cls, model: Any, units: Sequence[Unit], plan: Plan, base_sha256: str) -> "ModelSlot":
        """Make room for the checkpoints of the units and prove once that one arrives.

        Raises:
            CheckpointError: A checkpoint does not fit or does not arrive, or adapters and
                full weights are mixed.
        """
        checkpoints = [unit.checkpoint for unit in units if unit.checkpoint is not None]
        kinds = sorted({item.kind for item in checkpoints})
        if len(kinds) > 1:
            raise CheckpointError(
                "one collection holds adapters or full weights, not both",
                where=str(checkpoints[0].path.parent),
                fix="collect the heads into runs of their own",
            )
        slot = (
            _full(model, checkpoints, plan)
            if kinds == ["full"]
            else _adapters(model, checkpoints, plan, base_sha256)
        )
        return cls(model if slot is None else slot.model, slot)

    @property
    def merged(self) -> bool:
        """Whether adapters are added to the weights instead of run beside them."""
        return self._slot is not None and self._slot.merged

    def scale(self, factor: float) -> None:
        """Multiply the update of every adapter that is held from now on.

        Raises:
            CheckpointError: Checkpoints are full weights, or no plain LoRA.
        """
        if isinstance(self._slot, FullSlot):
            raise CheckpointError(
                "full weights have no update that could be multiplied",
                fix="leave the scaled contexts out",
            )
        if self._slot is not None:
            self._slot.scale(factor)

    @contextlib.contextmanager
    def holding(self, unit: Unit) -> Iterator[None]:
        """Let the model hold a unit's adapter, or none, for the length of a block.

        Raises:
            CheckpointError: The adapter does not fit, or the live tensors are not the file's.
        """
        if unit.checkpoint is None:
            with self.base():
                yield
            return
        if self._slot is None:
            raise CheckpointError(
                "the checkpoint cannot be read or changed since it was listed",
                where=str(unit.checkpoint.path),
                fix="repeat the command that wrote it (probe train writes what is missing)",
            )
        landed = self._slot.load(unit.checkpoint)
        if landed != unit.checkpoint.sha256:
            raise CheckpointError(
                f"live weights {landed[:8]} are not the listed {unit.checkpoint.sha256[:8]}",
                where=str(unit.checkpoint.path),
            )
        yield

    @contextlib.contextmanager
    def base(self) -> Iterator[None]:
        """Take the adapter out for the length of a block."""
        if self._slot is None:
            yield
        else:
            with self._slot.base():
                yield

    @contextlib.contextmanager
    def live(self) -> Iterator[dict[str, torch.Tensor]]:
        """Let gradients reach the adapter that is held, for the length of a block.

        Raises:
            CheckpointError: There is no adapter, or a tensor of it is no parameter.
        """
        if not isinstance(self._slot, AdapterSlot):
            raise CheckpointError(
                "gradients are taken with respect to an adapter, and there is none here",
                fix="ask for no gradients where checkpoints are full weights",
            )
        with self._slot.live() as parameters:
            yield parameters


def _adapters(
    model: Any, checkpoints: Sequence[Checkpoint], plan: Plan, base_sha256: str
) -> AdapterSlot | None:
    whole = [c for c in checkpoints if is_whole(c)]
    if not whole:
        return None
    moving = next((c for c in reversed(whole) if not is_neutral(c)), None)
    ids = _longest_row(plan, model.device)
    before = plain_logits(model, ids)
    expected = None if moving is None else fresh_logits(model, moving, ids)
    slot = AdapterSlot.attach(model, moving or whole[0], base_sha256=base_sha256)
    if moving is not None and expected is not None:
        check_landing(slot, moving, ids, expected, before)
    return slot


def _full(model: Any, checkpoints: Sequence[Checkpoint], plan: Plan) -> FullSlot | None:
    """Look from the end for weights to prove the slot with: a whole pass is not needed."""
    first = next((c for c in reversed(checkpoints) if is_whole(c)), None)
    if first is None:
        return None
    ids = _longest_row(plan, model.device)
    before = plain_logits(model, ids)
    slot = FullSlot.attach(model, first)
    moving = next((c for c in reversed(checkpoints) if is_whole(c) and not slot.is_base(c)), None)
    if moving is not None:
        check_landing(slot, moving, ids, fresh_full_logits(model, moving, ids), before)
    return slot


def _longest_row(plan: Plan, device: torch.device) -> torch.Tensor:
    row = int(plan.key_length.argmax())
    tokens = plan.prompts[int(plan.question[row])] + plan.answers[row]
    return torch.tensor([tokens], device=device)
