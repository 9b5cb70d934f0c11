"""What a collection must equal: the outputs of transformers themselves, the slow way.

Nothing of the project is used but the plan: eager attention, `output_hidden_states`,
`output_attentions`, the adapter loaded by PEFT and left beside the weights. The input of
the last MLP map and the residual before the final norm are no outputs of transformers:
the former is kept by a module put in its place, the latter is what comes out once the
final norm is an identity. Log-probabilities and sparsity are NumPy formulas in float64.
"""

import contextlib
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from peft import PeftModel
from tiny_families import build_model

from critical_phase.probes import Plan

Side = Literal["alone", "left", "right"]
"""Single rows without a mask, or all rows as one batch padded on the left or the right."""
_LLAMA = ("model.layers", "mlp.down_proj", "model.norm")
_GPT2 = ("transformer.h", "mlp.c_proj", "transformer.ln_f")
# Written by hand, so that a wrong site of ours cannot hide: blocks, last MLP map, final norm.
PATHS = {
    "gpt2": _GPT2,
    "gpt_neo": _GPT2,
    "gpt_neox": ("gpt_neox.layers", "mlp.dense_4h_to_h", "gpt_neox.final_layer_norm"),
    "opt": ("model.decoder.layers", "fc2", "model.decoder.final_layer_norm"),
    "phi": ("model.layers", "mlp.fc2", "model.final_layernorm"),
}
PADDING = 0  # any token: the mask hides it


@dataclass(frozen=True, eq=False)
class Row:
    """One row: question, then its own candidate; no padding."""

    tokens: tuple[int, ...]
    states: np.ndarray
    """Residual stream before the final norm [layer, token, d]; layer 0 is the embedding."""
    attention: np.ndarray
    """Attention weights [block, attention_head, query, key]."""
    post: np.ndarray
    """Input of the last MLP map at the last token [block, n]."""
    logprobs: np.ndarray
    """Log-probability of each answer token, nats."""


def fresh_model(family: str, adapter: Path | None) -> Any:
    """Build the base anew and let PEFT load the adapter; it is never merged."""
    model = build_model(family)
    if adapter is not None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
            model = PeftModel.from_pretrained(model, str(adapter)).eval().get_base_model()
    if family != "gpt_neo":  # eager already, and fixed
        model.set_attn_implementation("eager")
    return model


@torch.no_grad()
def read_rows(model: Any, plan: Plan, side: Side = "alone") -> tuple[Row, ...]:
    """Read every row of a plan."""
    tokens = [plan.prompts[plan.question[row]] + plan.answers[row] for row in range(plan.rows)]
    rows: list[Row] = []
    for group in [[row] for row in range(plan.rows)] if side == "alone" else [range(plan.rows)]:
        inputs, places = _inputs([tokens[row] for row in group], side)
        whole = model(**inputs, output_attentions=True)
        with _opened(model) as posts:
            states = model(**inputs, output_hidden_states=True).hidden_states
            kept = torch.stack([post().reshape(*inputs["input_ids"].shape, -1) for post in posts])
        for line, (row, own) in enumerate(zip(group, places, strict=True)):
            attention = torch.stack([weights[line] for weights in whole.attentions])
            begin = len(tokens[row]) - len(plan.answers[row])
            rows.append(
                Row(
                    tokens[row],
                    states=torch.stack([state[line, own] for state in states]).numpy(),
                    attention=attention[:, :, own][:, :, :, own].numpy(),
                    post=kept[:, line, own[-1]].numpy(),
                    logprobs=_logprobs(whole.logits[line, own], tokens[row], begin),
                )
            )
    return tuple(rows)


def _inputs(
    rows: Sequence[tuple[int, ...]], side: Side
) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """Pad rows and say where the tokens of each stand."""
    if side == "alone":
        (row,) = rows
        return {"input_ids": torch.tensor([row])}, [torch.arange(len(row))]
    width = max(map(len, rows)) + 3  # the longest row is padded too
    ids = torch.full((len(rows), width), PADDING)
    mask = torch.zeros_like(ids)
    places = []
    for line, row in enumerate(rows):
        begin = width - len(row) if side == "left" else 0
        own = torch.arange(begin, begin + len(row))
        ids[line, own], mask[line, own] = torch.tensor(row), 1
        places.append(own)
    position_ids = (mask.cumsum(-1) - 1).clamp(min=0)
    return {"input_ids": ids, "attention_mask": mask, "position_ids": position_ids}, places


class _Kept(torch.nn.Module):
    """Stands in for a module and keeps what went into it."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner, self.seen = inner, None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = x
        return self.inner(x)


@contextlib.contextmanager
def _opened(model: Any) -> Iterator[list[Any]]:
    """Take the final norm out and put a keeper before the last map of every MLP."""
    blocks, mlp_out, norm = PATHS.get(model.config.model_type, _LLAMA)
    places = [f"{blocks}.{i}.{mlp_out}" for i in range(len(model.get_submodule(blocks)))]
    before = {path: model.get_submodule(path) for path in (*places, norm)}
    keepers = {path: _Kept(before[path]) for path in places}
    for path, module in (keepers | {norm: torch.nn.Identity()}).items():
        model.set_submodule(path, module)
    try:
        yield [lambda keeper=keeper: keeper.seen for keeper in keepers.values()]
    finally:
        for path, module in before.items():
            model.set_submodule(path, module)


def _logprobs(logits: torch.Tensor, tokens: tuple[int, ...], begin: int) -> np.ndarray:
    """Normalise by hand in float64; the token before each answer token predicts it."""
    x = logits[begin - 1 : -1].double().numpy()
    peak = x.max(axis=1, keepdims=True)
    total = peak[:, 0] + np.log(np.exp(x - peak).sum(axis=1))
    return x[np.arange(len(x)), tokens[begin:]] - total


def summaries(row: np.ndarray, tokens: Sequence[int], begin: int, text: range) -> dict[str, float]:
    """Summarise one attention row [key].

    Args:
        row: Weights of the last token.
        tokens: Of the row.
        begin: Where its answer begins.
        text: Where the words of the question itself stand; around them is template.
    """
    rest = row[1:] / row[1:].sum()
    entropy = -sum(p * math.log(p) for p in rest if p > 0)
    last = len(row) - 1
    return {
        "sink_mass": row[0],
        "entropy_rest": entropy / math.log(len(rest)),
        "question_mass": row[1:begin].sum(),
        "answer_mass": row[begin:-1].sum(),
        "previous_mass": row[-2],
        "self_mass": row[-1],
        "induction_mass": sum(row[j] for j in range(1, last) if tokens[j - 1] == tokens[last]),
        "other_text_mass": sum(row[j] for j in range(1, begin) if j not in text),
    }


def thresholds(posts: np.ndarray) -> tuple[np.ndarray, list[list[int]]]:
    """Fix the threshold and the massive dimensions of each block from the base [row, block, n]."""
    size = np.abs(posts.astype(float))
    eps = size.mean((0, 2)) + size.std((0, 2))
    count = math.ceil(0.01 * posts.shape[2])
    return eps, [sorted(np.argsort(-mean)[:count].tolist()) for mean in size.mean(0)]


def sparsity(
    x: np.ndarray, eps: float, massive: Sequence[int], slack: float = 1.0
) -> dict[str, float]:
    """Measure one vector over all dimensions, and without the massive ones.

    Args:
        x: Input of an MLP's last map.
        eps: Threshold of `l0`.
        massive: Dimensions that the trimmed metrics leave out.
        slack: Factor on both thresholds, to tell how near to them values are.
    """
    x = np.abs(x.astype(float))
    parts = {"": x, "_trimmed": np.delete(x, massive)}
    return {
        name + ending: value
        for ending, h in parts.items()
        for name, value in _metrics(h, eps, slack).items()
    }


def _metrics(h: np.ndarray, eps: float, slack: float) -> dict[str, float]:
    n, total, energy = len(h), h.sum(), np.sort(h**2)[::-1]
    shares = h[h > 0] / total
    tops = {"top1": 0.01, "top5": 0.05, "top7": 0.07, "top10": 0.1}
    return {
        "hoyer": (np.sqrt(n) - total / np.sqrt(energy.sum())) / (np.sqrt(n) - 1),
        "gini": np.abs(h[:, None] - h[None]).sum() / (2 * n * total),
        "pr": energy.sum() ** 2 / (n * (h**4).sum()),
        "kurtosis": (h**4).mean() / energy.mean() ** 2,
        "l0": float((h > slack * eps).mean()),
        "l1": total,
        "effective_rank": math.exp(-(shares * np.log(shares)).sum()) / n,
        "l0_own": float((h > slack * (h.mean() + h.std())).mean()),
    } | {f"{k}_energy": energy[: math.ceil(v * n)].sum() / energy.sum() for k, v in tops.items()}
