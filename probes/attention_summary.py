"""A few numbers for one attention row: how much goes to the sink, the question, the answer."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critical_phase.probes.batches import Batch
from critical_phase.probes.plan import Plan

SUMMARIES = {
    "sink_mass": "weight on the row's first token, 0 to 1",
    "entropy_rest": "entropy of the weights without the first token, made to sum to 1, "
    "divided by the log of their number: 0 one key, 1 uniform; 0 where one key is left",
    "question_mass": "weight on the question without the first token, 0 to 1",
    "answer_mass": "weight on the own answer before its last token, 0 to 1",
    "previous_mass": "weight on the token before the last, 0 to 1; part of the others",
    "self_mass": "weight on the last token itself, 0 to 1",
    "induction_mass": "weight on the tokens that follow an earlier occurrence of the last token, "
    "itself excepted, 0 to 1; part of the others; 0 where induction_keys is 0",
    "other_text_mass": "weight on text before the answer that is not the question's own (template, "
    "demonstrations) without the first token, 0 to 1; part of question_mass",
}
INDUCTION_KEYS = "tokens that induction_mass counts; where there is none it is 0 by definition"


@dataclass(frozen=True, eq=False)
class RowText:
    """What the tokens of each row say about its keys, the same in every block."""

    after_same: Bool[Tensor, "row key"]
    """Keys right after an earlier occurrence of the row's last token."""
    other: Bool[Tensor, "row key"] | None
    """Keys before the answer that are not of the question's own text; None where unknown."""

    @property
    def induction_keys(self) -> Int[Tensor, " row"]:
        """Count the keys of `after_same`."""
        return self.after_same.sum(1).int()

    @classmethod
    def of(cls, plan: Plan, batch: Batch) -> "RowText":
        """Look at the tokens of a batch, on its device."""
        ids, device = batch.inputs["input_ids"], batch.keys.device
        own, last = ids[batch.owner[:, None], batch.keys], (batch.key_length - 1)[:, None]
        key = torch.arange(own.shape[1], device=device)[None]
        earlier = (own == own.gather(1, last)) & (key < last)
        after = earlier.roll(1, dims=1) & (key >= 1) & (key < last)
        if not plan.asked:
            return cls(after, None)
        spans = np.array(plan.asked, dtype=np.int64)[plan.question[batch.rows]]
        begin, end = torch.from_numpy(spans).to(device).T[:, :, None]
        question = torch.from_numpy(plan.question_end[batch.rows] + 1).to(device)[:, None]
        return cls(after, (key >= 1) & (key < question) & ~((key >= begin) & (key < end)))


def summaries_of(plan: Plan) -> dict[str, str]:
    """List the summaries that can be told of a plan's rows: not all plans know their parts."""
    unknown = () if plan.asked else ("other_text_mass",)
    return {name: about for name, about in SUMMARIES.items() if name not in unknown}


def summarise(
    rows: Float[Tensor, "row attention_head key"],
    length: Int[Tensor, " row"],
    question: Int[Tensor, " row"],
    text: RowText | None = None,
) -> dict[str, Float[Tensor, "row attention_head"]]:
    """Summarise attention rows of the last token of each answer.

    The first token takes a share that has little to do with content and dominates the
    entropy, so it stands apart. sink + question + answer + self = 1.

    Args:
        rows: Weights over the row's own tokens, summing to 1, 0 beyond `length`.
        length: Tokens of each row; the last of them is the one that attends.
        question: Tokens of the question, the first token included.
        text: What else is known of the keys; summaries that need it are left out without it.
    """
    key = torch.arange(rows.shape[-1], device=rows.device)[None]
    last, begin = (length - 1)[:, None], question[:, None]

    chosen = {
        "question_mass": (key >= 1) & (key < begin),
        "answer_mass": (key >= begin) & (key < last),
        "previous_mass": key == last - 1,
        "self_mass": key == last,
    }
    if text is not None:
        chosen["induction_mass"] = text.after_same
        if text.other is not None:
            chosen["other_text_mass"] = text.other
    masses = torch.bmm(rows, torch.stack(list(chosen.values()), dim=-1).to(rows.dtype))
    return {
        "sink_mass": rows[..., 0].clone(),
        "entropy_rest": _entropy_rest(rows, length),
        **dict(zip(chosen, masses.unbind(-1), strict=True)),
    }


def _entropy_rest(rows: Tensor, length: Tensor) -> Tensor:
    rest = rows[..., 1:]
    total = rest.sum(-1, keepdim=True)
    share = rest / total.clamp(min=torch.finfo(rest.dtype).tiny)
    tiny = torch.finfo(share.dtype).tiny  # whose log is finite, so that 0 log 0 is 0
    entropy = -torch.linalg.vecdot(share, share.clamp(min=tiny).log_())
    others = (length - 1).clamp(min=2).to(rows.dtype)
    normalised = entropy / others.log()[:, None]
    return torch.where((length > 2)[:, None], normalised, 0.0).clamp(0.0, 1.0)
