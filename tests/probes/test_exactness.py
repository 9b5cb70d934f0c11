"""What is collected equals a slow reference: one row at a time, unmerged, eager, unhooked."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel

from critical_phase.probes import (
    CollectSettings,
    Plan,
    collect,
    make_units,
    read_activations,
    read_attrs,
    read_scores,
    resolve,
    unit_path,
)
from critical_phase.probes.sparsity import NAMES

FAMILIES = (
    "llama",
    "gpt2",
    "gpt_neox",
    "qwen2",
    "qwen2_window",
    "mistral",
    "mistral_window",
    "gemma",
    "gemma2",
    "gpt_neo",
)
# float32 sums in another order (merged, packed) against unmerged single rows.
TOLERANCE = 2e-5
PATTERN_ROWS = (0, 8)


@pytest.fixture(params=FAMILIES)
def case(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    plan: Plan,
    make_model: Callable[..., Any],
    make_adapters: Callable[..., Any],
) -> dict[str, Any]:
    family = request.param
    checkpoints = make_adapters(tmp_path / "heads", family, (1,))
    units = make_units({"negative": checkpoints})
    settings = CollectSettings(pattern_rows=PATTERN_ROWS)
    report = collect(tmp_path, make_model(family), plan, units, settings=settings, fail_fast=True)
    model = make_model(family)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
        fresh = PeftModel.from_pretrained(model, str(checkpoints[0].path)).eval().get_base_model()
    if family != "gpt_neo":  # eager already, and fixed
        fresh.set_attn_implementation("eager")
    return {
        "family": family,
        "report": report,
        "plan": plan,
        "model": fresh,
        "activations": unit_path(tmp_path, "activations", units[1]),
        "base": unit_path(tmp_path, "activations", units[0]),
        "scores": unit_path(tmp_path, "scores", units[1]),
    }


@torch.no_grad()
def reference(model: Any, plan: Plan, row: int) -> dict[str, Any]:
    tokens = plan.prompts[plan.question[row]] + plan.answers[row]
    posts: list[torch.Tensor] = []
    handles = [
        module.register_forward_pre_hook(lambda _, args: posts.append(args[0][0, -1].clone()))
        for module in resolve(model).mlp_out
    ]
    out = model(input_ids=torch.tensor([tokens]), output_hidden_states=True, output_attentions=True)
    for handle in handles:
        handle.remove()
    logprobs = out.logits[0].float().log_softmax(-1)
    end = int(plan.question_end[row])
    taken = [float(logprobs[end + i, token]) for i, token in enumerate(plan.answers[row])]
    return {
        "states": torch.stack([state[0] for state in out.hidden_states]).numpy(),
        "attention": torch.stack([weights[0] for weights in out.attentions]).numpy(),
        "posts": torch.stack(posts).numpy(),
        "sum": sum(taken),
        "first": taken[0],
    }


def close(ours: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE * max(1.0, np.abs(theirs).max()))


def test_everything_equals_single_unhooked_rows(case: dict[str, Any]) -> None:
    plan, model = case["plan"], case["model"]
    residual = read_activations(case["activations"], "residual")
    attention = read_activations(case["activations"], "attention_row")
    sparsity = read_activations(case["activations"], "sparsity")
    pattern = read_activations(case["activations"], "pattern")
    eps = read_activations(case["activations"], "sparsity_eps")
    massive = read_activations(case["activations"], "massive_dimensions")
    scores = read_scores(case["scores"])
    norm = resolve(model).final_norm
    for row in range(0, plan.rows, 2):  # every question, first and last candidates
        expected = reference(model, plan, row)
        ends = [plan.question_end[row], plan.answer_end[row]]
        close(residual[:-1, row], expected["states"][:-1][:, ends])
        with torch.no_grad():
            normed = norm(torch.from_numpy(residual[-1, row])).numpy()
        close(normed, expected["states"][-1][ends])
        n = plan.key_length[row]
        close(attention[:, row, :, :n], expected["attention"][:, :, -1])
        assert not attention[:, row, :, n:].any()
        if row in PATTERN_ROWS:
            close(pattern[:, PATTERN_ROWS.index(row), :, :n, :n], expected["attention"])
        close(scores.logprob_sum[row], expected["sum"])
        close(scores.first_token_logprob[row], expected["first"])
        for block in range(len(eps)):
            slow = slow_sparsity(expected["posts"][block], eps[block], massive[block])
            np.testing.assert_allclose(sparsity[block, row], slow, rtol=2e-3, atol=1e-4)
    check_choices(case)


def check_choices(case: dict[str, Any]) -> None:
    family, attrs = case["family"], read_attrs(case["activations"])
    # GPT-Neo counts its window in slots; it and softcapped Gemma 2 have their own attention.
    assert attrs["row_layout"] == ("naive" if family == "gpt_neo" else "packed")
    eager = family in ("gemma2", "gpt_neo")
    assert attrs["attention_way"] == ("eager" if eager else "interface")
    assert attrs["merged"] == 1
    assert read_attrs(case["base"])["merged"] == 0
    assert tuple(read_activations(case["activations"], "metric")) == NAMES


def slow_sparsity(x: np.ndarray, eps: float, massive: np.ndarray) -> list[float]:
    whole, trimmed = np.abs(x.astype(float)), np.abs(np.delete(x, massive).astype(float))
    return [value for h in (whole, trimmed) for value in slow_metrics(h, eps)]


def slow_metrics(h: np.ndarray, eps: float) -> list[float]:
    n, total = len(h), h.sum()
    hoyer = (np.sqrt(n) - total / np.sqrt((h**2).sum())) / (np.sqrt(n) - 1)
    gini = np.abs(h[:, None] - h[None]).sum() / (2 * n * total)
    pr = (h**2).sum() ** 2 / (n * (h**4).sum())
    top = np.sort(h**2)[::-1][: int(np.ceil(0.1 * n))].sum() / (h**2).sum()
    return [hoyer, gini, pr, (h**4).mean() / (h**2).mean() ** 2, float((h > eps).mean()), top]
