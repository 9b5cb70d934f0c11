"""Read any tensor at the positions of each row: the two ends, and the mean of the answer."""

import torch
from jaxtyping import Float
from torch import Tensor

from critical_phase.probes.batches import Batch
from critical_phase.probes.plan import POSITIONS, Plan

ANSWER_MEAN = "answer_mean"
POSITION_NAMES = (*POSITIONS, ANSWER_MEAN)
"""Every position by name, in the order in which files hold them; POSITIONS is the default."""


class Positions:
    """Where the rows of one batch are read; built once per batch, used at every site.

    Reading copies: a slice would be a view that keeps a whole [line, slot, d] tensor alive.
    """

    def __init__(self, plan: Plan, batch: Batch, names: tuple[str, ...] = POSITIONS) -> None:
        """Note slots on the model's device.

        Args:
            plan: The rows.
            batch: Those that go through the model next.
            names: Of POSITION_NAMES.
        """
        self.names = names
        self._batch = batch
        self._shape = batch.inputs["input_ids"].shape
        columns = [POSITIONS.index(name) for name in names if name in POSITIONS]
        self._ends = batch.ends if columns == [0, 1] else batch.ends[:, columns]
        if ANSWER_MEAN in names:
            counts = torch.from_numpy(plan.tokens[batch.rows])
            reach = torch.arange(int(counts.max()))
            device = batch.ends.device
            self._own = (reach < counts[:, None]).to(device)
            self._count = counts.to(device)[:, None]
            # From the last token of the candidate backwards; its slots are neighbours. Beyond
            # its first token the last is read again: nothing else is sure to be there.
            self._slots = batch.ends[:, 1:] - torch.where(self._own, reach.to(device), 0)

    def read(self, x: Tensor, among: Tensor | None = None) -> Float[Tensor, "row position d"]:
        """Copy the rows out of [line, slot, d], or out of a flat [line * slot, d].

        The mean is taken in float32 and rounded to the type of `x`.

        Args:
            x: Values of all slots, or of some.
            among: Where each slot is in `x`, if `x` holds some of them alone.
        """
        ends = read_slots(x, self._batch, self._batch.owner[:, None], self._ends, among)
        if ANSWER_MEAN not in self.names:
            return ends
        own = read_slots(x, self._batch, self._batch.owner[:, None], self._slots, among).float()
        mean = own.masked_fill_(~self._own[..., None], 0.0).sum(1) / self._count
        return torch.cat([ends, mean[:, None].to(x.dtype)], dim=1)


def taken(x: Tensor, line: Tensor, slot: Tensor) -> Tensor:
    """Copy x[line, slot]: whole vectors at once, which on a CPU takes a third of the time.

    Args:
        x: Values [line, slot, ...].
        line: Lines, broadcast against `slot`.
        slot: Slots of those lines.
    """
    if not x.is_contiguous():
        return x[line, slot]
    flat = line * x.shape[1] + slot
    rows = x.reshape(-1, *x.shape[2:]).index_select(0, flat.reshape(-1))
    return rows.reshape(*flat.shape, *x.shape[2:])


def read_slots(
    x: Tensor, batch: Batch, line: Tensor, slot: Tensor, among: Tensor | None = None
) -> Tensor:
    """Copy the vectors at some lines and slots of a batch.

    Args:
        x: Values [line, slot, d] or [line * slot, d]; or [1, k, d] or [k, d] of some slots.
        batch: What went through the model.
        line: Lines, broadcast against `slot`.
        slot: Slots of those lines.
        among: Where each slot is in `x`, if `x` holds some of them alone.

    Raises:
        IndexError: A slot is asked for that `x` does not hold.
    """
    if among is None:
        return taken(by_line(x, batch), line, slot)
    place = among[line * batch.inputs["input_ids"].shape[1] + slot]
    rows = x.reshape(-1, x.shape[-1]).index_select(0, place.reshape(-1))
    return rows.reshape(*place.shape, x.shape[-1])


def by_line(x: Tensor, batch: Batch) -> Tensor:
    """Give a tensor its axes [line, slot, ...] back where a family flattens them, as OPT does."""
    lines, slots = batch.inputs["input_ids"].shape
    if x.dim() > 1 and x.shape[:2] == (lines, slots):
        return x
    return x.reshape(lines, slots, *x.shape[1:])
