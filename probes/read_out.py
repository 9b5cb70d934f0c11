"""Where the attention rows of one batch are read, and what is known of their keys.

All of it is the same in every block and for every checkpoint, so it is worked out once for
as long as the batch is kept.
"""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from critical_phase.probes.attention_summary import RowText
from critical_phase.probes.batches import Batch
from critical_phase.probes.plan import Plan


@dataclass(frozen=True, eq=False)
class ReadOut:
    """Answer ends of one batch, and the slots that each of them may see."""

    slots: Int[Tensor, "line read"]
    """Answer ends of each line; lines of fewer candidates end with 0."""
    column: Int[Tensor, " row"]
    """Place of each row in its line."""
    keys: Int[Tensor, "row 1 key"]
    """Slots of each row's own tokens."""
    valid: Bool[Tensor, "row 1 key"]
    """Which of them are tokens and no padding."""
    question: Int[Tensor, " row"]
    """Tokens of each row's question."""
    text: RowText

    @classmethod
    def of(cls, plan: Plan, batch: Batch) -> "ReadOut":
        """Work it out on the batch's device."""
        owner = batch.owner.cpu().numpy()
        column = np.zeros(len(owner), dtype=np.int64)
        seen: dict[int, int] = {}
        for local, line in enumerate(owner.tolist()):
            column[local] = seen.get(line, 0)
            seen[line] = column[local] + 1
        device, lines = batch.owner.device, len(batch.inputs["input_ids"])
        slots = torch.zeros((lines, max(seen.values())), dtype=torch.long, device=device)
        columns = torch.from_numpy(column).to(device)
        slots[batch.owner, columns] = batch.ends[:, 1]
        valid = torch.arange(batch.keys.shape[1], device=device) < batch.key_length[:, None]
        question = torch.from_numpy(plan.question_end[batch.rows] + 1).to(device)
        text = RowText.of(plan, batch)
        return cls(slots, columns, batch.keys[:, None], valid[:, None], question, text)


class ReadOuts:
    """Remembers the read-out of every batch that is still kept elsewhere."""

    def __init__(self, plan: Plan) -> None:
        """Start empty."""
        self._plan = plan
        self._known: WeakKeyDictionary[Batch, ReadOut] = WeakKeyDictionary()

    def of(self, batch: Batch) -> ReadOut:
        """Give what was worked out before, or work it out."""
        found = self._known.get(batch)
        if found is None:
            found = self._known[batch] = ReadOut.of(self._plan, batch)
        return found
