"""What every collector must equal: the model itself, one row at a time, without our code.

The adapter is loaded by PEFT and left beside the weights. What transformers does not
return is kept by modules put in place of the model's own. Formulas are NumPy in float64.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from naive_reference import fresh_model, read_rows, sparsity, summaries, thresholds

from critical_phase.probes import Plan
from critical_phase.probes.sparsity import NAMES

Values = dict[str, np.ndarray]
Reference = Callable[[str, Path | None, Plan, Path], Values]
"""From family, adapter, plan and the base's activations file to datasets by name."""
NORMS = {
    "llama": ("model.layers", "post_attention_layernorm", "model.norm"),
    "gpt2": ("transformer.h", "ln_2", "transformer.ln_f"),
}


class Kept(torch.nn.Module):
    """Stands in for a module and keeps what went into it and what came out."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.weight = inner.weight  # PEFT looks at its type

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = x
        made: torch.Tensor = self.inner(x)
        self.made = made
        return made


def keep(parent: torch.nn.Module, name: str) -> Kept:
    kept = Kept(getattr(parent, name))
    setattr(parent, name, kept)
    return kept


def at(values: np.ndarray, plan: Plan, row: int) -> np.ndarray:
    """Take [token, d] at question_end, answer_end and as answer_mean."""
    end, last = int(plan.question_end[row]), int(plan.answer_end[row])
    return np.stack([values[end], values[last], values[end + 1 : last + 1].mean(0)])


def tokens_of(plan: Plan, row: int) -> torch.Tensor:
    return torch.tensor([plan.prompts[plan.question[row]] + plan.answers[row]])


def residual(family: str, adapter: Path | None, plan: Plan, _: Path) -> Values:
    states = [row.states for row in read_rows(fresh_model(family, adapter), plan)]
    stream = [[at(layer, plan, i) for layer in one] for i, one in enumerate(states)]
    model = fresh_model(family, adapter)
    blocks, norm, _last = NORMS[family]
    kept = [keep(block, norm) for block in model.get_submodule(blocks)]
    mid = []
    for row in range(plan.rows):
        with torch.no_grad():
            model(input_ids=tokens_of(plan, row))
        mid.append([at(one.seen[0].numpy(), plan, row) for one in kept])
    return {"residual": np.stack(stream, 1), "residual_mid": np.stack(mid, 1)}


def attention(family: str, adapter: Path | None, plan: Plan, _: Path) -> Values:
    rows = read_rows(fresh_model(family, adapter), plan)
    last = [own.attention[:, :, -1] for own in rows]
    width = int(plan.key_length.max())
    padded = [np.pad(one, [(0, 0), (0, 0), (0, width - one.shape[-1])]) for one in last]
    found: Values = {"attention_row": np.stack(padded, 1), "key_length": plan.key_length}
    every = [
        [[_summaries(h, plan, i) for h in block] for block in one] for i, one in enumerate(last)
    ]
    for name in every[0][0][0]:
        values = [[[head[name] for head in block] for block in one] for one in every]
        found[f"attention_summary/{name}"] = np.array(values).swapaxes(0, 1)
    found["induction_keys"] = np.array([len(_induction(plan, i)) for i in range(plan.rows)])
    return found


def _summaries(weights: np.ndarray, plan: Plan, row: int) -> dict[str, float]:
    begin, end = plan.asked[plan.question[row]]
    question = int(plan.question_end[row]) + 1
    return summaries(weights, tokens_of(plan, row)[0].tolist(), question, range(begin, end))


def _induction(plan: Plan, row: int) -> list[int]:
    own = tokens_of(plan, row)[0].tolist()
    return [k for k in range(1, len(own) - 1) if own[k - 1] == own[-1]]


def mlp_sparsity(family: str, adapter: Path | None, plan: Plan, base: Path) -> Values:
    posts = np.stack([row.post for row in read_rows(fresh_model(family, adapter), plan)], 1)
    base_posts = np.stack([row.post for row in read_rows(fresh_model(family, None), plan)])
    eps, massive = thresholds(base_posts)
    values = [[all_metrics(x, eps[i], massive[i]) for x in block] for i, block in enumerate(posts)]
    return {
        "sparsity": np.array(values),
        "sparsity_eps": eps,
        "massive_dimensions": np.array(massive),
    }


def residual_sparsity(family: str, adapter: Path | None, plan: Plan, base: Path) -> Values:
    stream = residual(family, adapter, plan, base)["residual"]
    start = residual(family, None, plan, base)["residual"]
    eps, massive = thresholds(start[:, :, 1].swapaxes(0, 1))
    values = [
        [[all_metrics(x, eps[i], massive[i]) for x in row] for row in layer]
        for i, layer in enumerate(stream)
    ]
    return {
        "residual_sparsity": np.array(values),
        "residual_sparsity_eps": eps,
        "residual_massive_dimensions": np.array(massive),
    }


def all_metrics(x: np.ndarray, eps: float, massive: list[int]) -> list[float]:
    found = sparsity(x, eps, massive)
    assert set(found) == set(NAMES)
    return [found[name] for name in NAMES]


def lora_hidden(family: str, adapter: Path | None, plan: Plan, _: Path) -> Values:
    model = fresh_model(family, adapter)
    modules = {p: m for p, m in model.named_modules() if hasattr(m, "lora_A")}
    kept = {path: keep(module.lora_A, "default") for path, module in modules.items()}
    found: dict[str, list[np.ndarray]] = {path: [] for path in kept}
    for row in range(plan.rows):
        with torch.no_grad():
            model(input_ids=tokens_of(plan, row))
        for path, one in kept.items():
            found[path].append(at(one.made[0].numpy(), plan, row))
    ranks = [module.r["default"] for module in modules.values()]
    values: Values = {}
    for path, each in found.items():
        own = np.stack(each)
        values[f"lora_hidden/{path}"] = np.pad(
            own, [(0, 0), (0, 0), (0, max(ranks) - own.shape[2])]
        )
    values["lora_module_rank"] = np.array(ranks)
    scalings = [module.scaling["default"] for module in modules.values()]
    return values | {"lora_module_scaling": np.array(scalings)}


def margin_gradient(family: str, adapter: Path | None, plan: Plan, _: Path) -> Values:
    model, scores, gradients = fresh_model(family, adapter).requires_grad_(True), [], []
    parent, _dot, name = NORMS[family][2].rpartition(".")
    kept = keep(model.get_submodule(parent), name)
    for row in range(plan.rows):
        out = model(input_ids=tokens_of(plan, row), output_hidden_states=True)
        stream = [*out.hidden_states[:-1], kept.seen]
        score = logprob(out.logits[0], plan, row)
        parts = torch.autograd.grad(score, stream)
        scores.append(score.item())
        gradients.append(np.stack([part[0].numpy() for part in parts]))
    return joined(plan, np.array(scores), gradients)


def logprob(logits: torch.Tensor, plan: Plan, row: int) -> torch.Tensor:
    places = torch.arange(len(plan.answers[row])) + int(plan.question_end[row])
    return logits.log_softmax(-1)[places, torch.tensor(plan.answers[row])].sum()


def joined(plan: Plan, scores: np.ndarray, gradients: list[np.ndarray]) -> Values:
    """Join rows to margins: question_end of both candidates, own tokens of each."""
    layers, width = gradients[0].shape[0], gradients[0].shape[2]
    found = np.zeros((layers, plan.rows, 2, width))
    sign, margin = np.zeros(plan.rows), np.zeros(plan.rows)
    for rows in map(list, plan.rows_of):
        (right,) = [row for row in rows if plan.correct[row]]
        wrong = max((row for row in rows if row != right), key=lambda row: scores[row])
        margin[rows] = scores[right] - scores[wrong]
        for row, factor in ((right, 1), (wrong, -1)):
            end, last = int(plan.question_end[row]), int(plan.answer_end[row])
            found[:, rows, 0] += factor * gradients[row][:, None, end]
            found[:, row, 1] = factor * gradients[row][:, end + 1 : last + 1].mean(1)
            sign[row] = factor
    return {"margin_gradient": found, "margin": margin, "margin_sign": sign,
            "margin_tied": np.ones(plan.rows)}  # fmt: skip


ATTENTION = {
    "llama": ("self_attn.v_proj", "self_attn.o_proj"),
    "gpt2": ("attn.c_attn", "attn.c_proj"),
}


def head_output(family: str, adapter: Path | None, plan: Plan, _: Path) -> Values:
    """Values that each head sums up: read where they are made, weighted by eager attention."""
    model = fresh_model(family, adapter)
    patterns = [row.attention for row in read_rows(model, plan)]
    into, out = ATTENTION[family]
    blocks = model.get_submodule(NORMS[family][0])
    kept = [keep(block.get_submodule(into.split(".")[0]), into.split(".")[1]) for block in blocks]
    parts = [projection(block.get_submodule(out)).reshape(4, 8, 32) for block in blocks]
    norms = np.zeros((2, len(blocks), plan.rows, 3, 4))
    for row in range(plan.rows):
        with torch.no_grad():
            model(input_ids=tokens_of(plan, row))
        for i, one in enumerate(kept):
            values = one.made[0].double().numpy()[:, -32:]  # GPT-2 makes queries and keys before
            values = values.reshape(len(values), -1, 8)  # token, head of values, d
            values = np.repeat(values, 4 // values.shape[1], axis=1)
            z = np.einsum("hqk,khd->qhd", patterns[row][i], values)
            read = at(z.reshape(len(z), -1), plan, row).reshape(3, 4, 8)
            norms[0, i, row] = np.linalg.norm(read, axis=-1)
            written = np.einsum("phd,hde->phe", read, parts[i])
            norms[1, i, row] = np.linalg.norm(written, axis=-1)
    return {"head_output_norm": norms[0], "head_write_norm": norms[1]}


def projection(module: torch.nn.Module) -> np.ndarray:
    """Weights [what goes in, what comes out] of a linear map with or without an adapter."""
    base = getattr(module, "base_layer", module)
    weight = base.weight if type(base).__name__ == "Conv1D" else base.weight.T
    made = weight.detach().double().numpy()
    if base is module:
        return made
    a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
    return made + (b.double() @ a.double()).T.detach().numpy() * module.scaling["default"]


class Gated(torch.nn.Module):
    """Stands in for an output projection and multiplies each head with a gate."""

    def __init__(self, inner: torch.nn.Module, heads: int) -> None:
        super().__init__()
        self.inner = inner
        self.gate = torch.nn.Parameter(torch.ones(heads, dtype=inner.weight.dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = self.gate.repeat_interleave(x.shape[-1] // len(self.gate))
        made: torch.Tensor = self.inner(x * wide)
        return made


def gates_of(model: torch.nn.Module, family: str, heads: int = 4) -> list[torch.nn.Parameter]:
    """Put a gate on every head of a model."""
    gates = []
    for block in model.get_submodule(NORMS[family][0]):
        parent, _dot, name = ATTENTION[family][1].rpartition(".")
        gated = Gated(block.get_submodule(ATTENTION[family][1]), heads)
        setattr(block.get_submodule(parent), name, gated)
        gates.append(gated.gate)
    return gates


def head_importance(family: str, adapter: Path | None, plan: Plan, _: Path) -> Values:
    """Gradient of right minus best wrong score with respect to gates in the model itself."""
    model = fresh_model(family, adapter)
    gates, scores, slopes = gates_of(model, family), [], []
    for row in range(plan.rows):
        score = logprob(model(input_ids=tokens_of(plan, row)).logits[0], plan, row)
        slopes.append(np.stack([g.numpy() for g in torch.autograd.grad(score, gates)]))
        scores.append(score.item())
    found = np.zeros((len(gates), plan.rows, 4))
    for rows in map(list, plan.rows_of):
        (right,) = [row for row in rows if plan.correct[row]]
        wrong = max((row for row in rows if row != right), key=lambda row: scores[row])
        found[:, rows] = (slopes[right] - slopes[wrong])[:, None]
    return {"head_importance": found}


REFERENCES: dict[str, Reference] = {
    "residual": residual,
    "attention": attention,
    "sparsity": mlp_sparsity,
    "residual_sparsity": residual_sparsity,
    "lora_hidden": lora_hidden,
    "margin_gradient": margin_gradient,
    "head_output": head_output,
    "head_importance": head_importance,
}
