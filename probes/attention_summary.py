"""A few numbers for one attention row: how much goes to the sink, the question, the answer."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

SUMMARIES = {
    "sink_mass": "weight on the row's first token, 0 to 1",
    "entropy_rest": "entropy of the weights without the first token, made to sum to 1, "
    "divided by the log of their number: 0 one key, 1 uniform; 0 where one key is left",
    "question_mass": "weight on the question without the first token, 0 to 1",
    "answer_mass": "weight on the own answer before its last token, 0 to 1",
    "previous_mass": "weight on the token before the last, 0 to 1; part of the others",
    "self_mass": "weight on the last token itself, 0 to 1",
}


def summarise(
    rows: Float[Tensor, "row attention_head key"],
    length: Int[Tensor, " row"],
    question: Int[Tensor, " row"],
) -> dict[str, Float[Tensor, "row attention_head"]]:
    """Summarise attention rows of the last token of each answer.

    The first token takes a share that has little to do with content and dominates the
    entropy, so it stands apart. sink + question + answer + self = 1.

    Args:
        rows: Weights over the row's own tokens, summing to 1, 0 beyond `length`.
        length: Tokens of each row; the last of them is the one that attends.
        question: Tokens of the question, the first token included.
    """
    key = torch.arange(rows.shape[-1], device=rows.device)[None]
    last, begin = (length - 1)[:, None], question[:, None]

    def mass(chosen: Tensor) -> Tensor:
        return (rows * chosen[:, None]).sum(-1)

    return {
        "sink_mass": rows[..., 0].clone(),
        "entropy_rest": _entropy_rest(rows, length),
        "question_mass": mass((key >= 1) & (key < begin)),
        "answer_mass": mass((key >= begin) & (key < last)),
        "previous_mass": mass(key == last - 1),
        "self_mass": mass(key == last),
    }


def _entropy_rest(rows: Tensor, length: Tensor) -> Tensor:
    rest = rows[..., 1:]
    total = rest.sum(-1, keepdim=True)
    share = rest / total.clamp(min=torch.finfo(rest.dtype).tiny)
    entropy = torch.special.entr(share).sum(-1)
    others = (length - 1).clamp(min=2).to(rows.dtype)
    normalised = entropy / others.log()[:, None]
    return torch.where((length > 2)[:, None], normalised, 0.0).clamp(0.0, 1.0)
