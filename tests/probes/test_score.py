"""Scores without files: every layout gives what single rows give, or is not used."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BloomConfig, BloomForCausalLM, MptConfig, MptForCausalLM

from critical_phase.checkpoints import PROMPTS, Question
from critical_phase.errors import CheckpointError, ConfigError
from critical_phase.probes import CollectSettings, Plan, context_plan, score
from critical_phase.probes.hooks import count_hooks
from critical_phase.probes.stem import WORTH, shared_start

FAMILIES = ["llama", "gpt2", "gpt_neox", "qwen2_window", "mistral_window", "gemma2", "gpt_neo"]


def alibi(family: str) -> Any:
    torch.manual_seed(0)
    if family == "mpt":
        config = MptConfig(vocab_size=130, d_model=32, n_layers=2, n_heads=4)
        return MptForCausalLM(config).eval()
    config = BloomConfig(
        vocab_size=130, hidden_size=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0
    )
    return BloomForCausalLM(config).eval()


@torch.no_grad()
def by_hand(model: Any, plan: Plan) -> np.ndarray:
    """The definition: one row at a time, all logits, log_softmax, sum."""
    sums = []
    for row in range(plan.rows):
        prompt, answer = plan.prompts[plan.question[row]], plan.answers[row]
        logprobs = model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
        sums.append(sum(float(logprobs[len(prompt) - 1 + i, t]) for i, t in enumerate(answer)))
    return np.array(sums)


@pytest.fixture
def shot_plan(tokenizer: Any, questions: tuple[Question, ...]) -> Plan:
    """Rows behind so long a common start that it is run once."""
    others = tuple(replace(one, question=f"Again: {one.question}") for one in questions)
    plan = context_plan("shots-2", questions, others, tokenizer, PROMPTS["cloze"])
    assert shared_start(plan) >= WORTH
    return plan


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layout", ["auto", "cached", "naive"])
def test_scores_are_those_of_the_definition(
    family: str, layout: Any, plan: Plan, make_model: Callable[..., Any]
) -> None:
    model = make_model(family)
    found, expected = score(model, plan, layout=layout), by_hand(model, plan)
    np.testing.assert_allclose(found.logprob_sum, expected, rtol=1e-4)
    quickest = "cached" if family == "gpt_neo" else "packed"  # its window counts slots
    assert found.layout == (quickest if layout == "auto" else layout)


@pytest.mark.parametrize("family", ["mpt", "bloom"])
def test_linear_biases_are_scored_from_the_cache(family: str, plan: Plan, shot_plan: Plan) -> None:
    model = alibi(family)
    for one in (plan, shot_plan):
        found = score(model, one)
        assert found.layout == "cached"
        assert "packed" in found.layout_reason
        np.testing.assert_allclose(found.logprob_sum, by_hand(model, one), rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layout", ["auto", "cached"])
def test_a_common_start_is_run_once_and_changes_nothing(
    family: str, layout: Any, shot_plan: Plan, make_model: Callable[..., Any]
) -> None:
    model = make_model(family)
    found = score(model, shot_plan, layout=layout)
    np.testing.assert_allclose(found.logprob_sum, by_hand(model, shot_plan), rtol=1e-4)
    assert f"after {shared_start(shot_plan)} shared tokens" in found.layout_reason


def test_the_common_start_leaves_every_prompt_a_token_of_its_own(plan: Plan) -> None:
    def shared(*prompts: tuple[int, ...]) -> int:
        return shared_start(replace(plan, prompts=prompts))

    assert shared((1, 2, 3), (1, 2, 4), (1, 2, 3, 9)) == 2
    assert shared((1, 2, 3), (1, 2, 3)) == 2
    assert shared((1, 2), (1, 2, 3)) == 1
    assert shared((1,), (2,)) == 0
    assert shared((1, 2, 3)) == 0


@pytest.mark.parametrize("layout", ["packed", "cached", "naive"])
def test_the_size_of_a_batch_changes_nothing(
    layout: Any, plan: Plan, make_model: Callable[..., Any]
) -> None:
    model = make_model("llama")
    one, many = (score(model, plan, layout=layout, batch_tokens=n) for n in (1, 5000))
    np.testing.assert_allclose(one.logprob_sum, many.logprob_sum, rtol=1e-5)
    np.testing.assert_allclose(one.first_token_logprob, many.first_token_logprob, rtol=1e-5)


def test_candidates_of_one_token_need_no_second_pass(
    tokenizer: Any, plan: Plan, make_model: Callable[..., Any]
) -> None:
    short = replace(plan, answers=tuple(answer[:1] for answer in plan.answers))
    model = make_model("llama")
    for layout in ("packed", "cached"):
        found = score(model, short, layout=layout)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.logprob_sum, by_hand(model, short), rtol=1e-4)
        np.testing.assert_array_equal(found.logprob_sum, found.first_token_logprob)


def test_a_batch_of_two_passes_that_does_not_fit_is_halved(
    shot_plan: Plan, make_model: Callable[..., Any]
) -> None:
    model = make_model("llama")
    expected = score(model, shot_plan, layout="cached").logprob_sum

    def small(_: Any, args: Any, kwargs: Any) -> None:
        if len(kwargs["input_ids"]) > 4:
            raise torch.OutOfMemoryError("planted: out of memory")

    model.register_forward_pre_hook(small, with_kwargs=True)
    found = score(model, shot_plan, layout="cached").logprob_sum
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_model_is_left_as_it_was(plan: Plan, make_model: Callable[..., Any]) -> None:
    model = make_model("llama").train()
    score(model, plan)
    assert model.training
    assert count_hooks(model) == 0


def test_a_layout_that_is_not_exact_is_refused(plan: Plan) -> None:
    with pytest.raises(ConfigError, match="cannot read packed rows"):
        score(alibi("bloom"), plan, layout="packed")


def test_activations_are_not_read_from_the_cache() -> None:
    with pytest.raises(ConfigError, match="reads scores alone"):
        CollectSettings(("residual",), layout="cached").check(("residual",), 1)


def test_weights_that_are_not_finite_are_named(plan: Plan, make_model: Callable[..., Any]) -> None:
    model = make_model("llama")
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="as the log-probability of row"):
        score(model, plan)
