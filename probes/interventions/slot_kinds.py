"""What the slots of a batch are: tokens of a question, its last one, tokens of an answer."""

import torch
from jaxtyping import Int
from torch import Tensor

from critical_phase.errors import ConfigError
from critical_phase.probes.batches import Batch
from critical_phase.probes.plan import Plan

NONE, QUESTION, QUESTION_END, ANSWER = range(4)
KINDS: dict[str, tuple[int, ...]] = {
    "all": (QUESTION, QUESTION_END, ANSWER),
    "question": (QUESTION,),
    "question_end": (QUESTION_END,),
    "answer": (ANSWER,),
    "from_question_end": (QUESTION_END, ANSWER),
}
"""Positions by name: `question` is all before `question_end`, the last token before the answer;
`answer` is every token of every candidate."""


def slot_kinds(plan: Plan, batch: Batch) -> Int[Tensor, "line slot"]:
    """Say of every slot what it is; padding is `NONE`.

    Args:
        plan: The rows.
        batch: With its read-outs, so not a lean one.
    """
    lines, slots = batch.inputs["input_ids"].shape
    device = batch.keys.device
    ends = torch.from_numpy(plan.question_end[batch.rows]).to(device)[:, None]
    places = torch.arange(batch.keys.shape[1], device=device)[None]
    kind = torch.where(places < ends, QUESTION, torch.where(places == ends, QUESTION_END, ANSWER))
    own = places < batch.key_length[:, None]
    found = torch.full((lines, slots), NONE, device=device)
    line = batch.owner[:, None].expand(batch.keys.shape)
    found[line[own], batch.keys[own]] = kind[own]
    return found


def chosen_slots(kinds: Int[Tensor, "line slot"], position: str) -> Tensor:
    """Mark the slots of a named position [line, slot].

    Raises:
        ConfigError: No such position.
    """
    if position not in KINDS:
        raise ConfigError(f"no position {position!r}", fix=f"choose from {', '.join(KINDS)}")
    wanted = torch.tensor(KINDS[position], device=kinds.device)
    return torch.isin(kinds, wanted)
