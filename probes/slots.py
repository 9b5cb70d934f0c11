"""The model of a collection: the base alone, or the base with a slot for adapters."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from critical_phase.checkpoints import AdapterSlot
from critical_phase.errors import CheckpointError
from critical_phase.probes.landing import check_landing, fresh_logits, is_neutral, is_whole
from critical_phase.probes.plan import Plan
from critical_phase.probes.units import Unit


class ModelSlot:
    """Holds one unit at a time in a model that is loaded once."""

    def __init__(self, model: Any, slot: AdapterSlot | None) -> None:
        """Use `open`."""
        self.model = model
        """What is called and hooked."""
        self._slot = slot

    @classmethod
    def open(cls, model: Any, units: Sequence[Unit], plan: Plan, base_sha256: str) -> "ModelSlot":
        """Make room for the adapters of the units and prove once that one arrives.

        Raises:
            CheckpointError: An adapter does not fit or does not arrive.
        """
        checkpoints = [unit.checkpoint for unit in units if unit.checkpoint is not None]
        whole = [c for c in checkpoints if is_whole(c)]
        if not whole:
            return cls(model, None)
        moving = next((c for c in reversed(whole) if not is_neutral(c)), None)
        ids = _longest_row(plan, model.device)
        expected = None if moving is None else fresh_logits(model, moving, ids)
        slot = AdapterSlot.attach(model, moving or whole[0], base_sha256=base_sha256)
        if moving is not None and expected is not None:
            check_landing(slot, moving, ids, expected)
        return cls(slot.model, slot)

    @property
    def merged(self) -> bool:
        """Whether adapters are added to the weights instead of run beside them."""
        return self._slot is not None and self._slot.merged

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
                "the adapter cannot be read or changed since it was listed",
                where=str(unit.checkpoint.path),
                fix="delete the folder and repeat probe train; it writes what is missing",
            )
        landed = self._slot.load(unit.checkpoint)
        if landed != unit.checkpoint.sha256:
            raise CheckpointError(
                f"live adapter {landed[:8]} is not the listed {unit.checkpoint.sha256[:8]}",
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


def _longest_row(plan: Plan, device: torch.device) -> torch.Tensor:
    row = int(plan.key_length.argmax())
    tokens = plan.prompts[int(plan.question[row])] + plan.answers[row]
    return torch.tensor([tokens], device=device)
