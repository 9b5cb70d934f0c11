"""Side effects are exact against slow references."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tiny_effects import TEXTS, build_effects_plan, contents, read, save_units
from transformers import AutoModelForCausalLM, GPT2Config

from critical_phase.checkpoints import Checkpoint, list_series, quiet_peft
from critical_phase.probes import (
    EffectsPlan,
    EffectsSettings,
    Plan,
    Unit,
    encode_texts,
    read_attrs,
    side_effects,
    unit_path,
    validate,
)


@pytest.fixture
def units(tmp_path: Path) -> tuple[Unit, ...]:
    return save_units(tmp_path / "heads")


@pytest.fixture
def effects_plan() -> EffectsPlan:
    return build_effects_plan()


def test_files_keep_to_the_format_and_an_identity_diverges_by_nothing(
    units: tuple[Unit, ...],
    effects_plan: EffectsPlan,
    make_model: Callable[..., Any],
    tmp_path: Path,
) -> None:
    report = side_effects(tmp_path, make_model("llama"), effects_plan, units, fail_fast=True)
    assert report.done == units
    for unit in units:
        assert validate(unit_path(tmp_path, "effects", unit)).kind == "effects"
    start, moved = read(tmp_path, units[1]), read(tmp_path, units[3])
    for name in ("kl_text", "kl_text_reverse", "kl_question", "kl_question_end"):
        assert not start[name].any()
        assert (moved[name] > 1e-3).all()
    base = read(tmp_path, units[0])
    np.testing.assert_array_equal(start["nll_text"], base["nll_text"])
    assert "gradient_sq" not in base
    assert start["gradient_sq"].shape == (5,)
    assert start["gradient_mean_sq"].shape == (1,)


def logits_alone(model: Any, ids: tuple[int, ...]) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(torch.tensor([ids])).logits[0]
    return logits.double().log_softmax(-1)


def slow_divergence(head: Any, base: Any, ids: tuple[int, ...], first: int) -> np.ndarray:
    """KL(head || base) at every place from `first` - 1 that predicts a token."""
    p, q = (logits_alone(model, ids)[first - 1 : -1] for model in (head, base))
    return (p.exp() * (p - q)).sum(-1).numpy()


def test_divergences_are_those_of_a_fresh_load_text_by_text(
    units: tuple[Unit, ...],
    effects_plan: EffectsPlan,
    make_model: Callable[..., Any],
    tmp_path: Path,
) -> None:
    side_effects(tmp_path, make_model("llama"), effects_plan, units, fail_fast=True)
    found, plan = read(tmp_path, units[3]), effects_plan.questions
    assert effects_plan.texts is not None
    assert units[3].checkpoint is not None
    base, texts = make_model("llama"), effects_plan.texts.plan
    with quiet_peft():
        head = PeftModel.from_pretrained(make_model("llama"), str(units[3].checkpoint.path)).eval()
    for index in range(len(TEXTS)):
        ids = texts.prompts[index] + texts.answers[index]
        assert found["kl_text"][index] == pytest.approx(
            slow_divergence(head, base, ids, 1).mean(), rel=1e-3
        )
        assert found["kl_text_reverse"][index] == pytest.approx(
            slow_divergence(base, head, ids, 1).mean(), rel=1e-3
        )
    for question, row in enumerate(np.flatnonzero(plan.correct)):
        prompt = plan.prompts[question]
        slow = slow_divergence(head, base, prompt + plan.answers[row], len(prompt))
        assert found["kl_question"][question] == pytest.approx(slow.mean(), rel=1e-3)
        assert found["kl_question_end"][question] == pytest.approx(slow[0], rel=1e-3)


def test_likelihoods_are_the_losses_of_transformers(
    effects_plan: EffectsPlan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    unit, model = Unit("base", 0), make_model("llama")
    assert effects_plan.texts is not None
    plan = effects_plan.texts.plan
    ids = [torch.tensor([a + b]) for a, b in zip(plan.prompts, plan.answers, strict=True)]
    with torch.no_grad():
        losses = [model(one, labels=one).loss.item() for one in ids]
    side_effects(tmp_path, model, effects_plan, (unit,), fail_fast=True)
    found = read(tmp_path, unit)
    np.testing.assert_allclose(found["nll_text"] / found["tokens_text"], losses, rtol=1e-5)
    assert found["tokens_text"].tolist() == [len(text) for text in TEXTS]


def shifting_base() -> Any:
    """A model whose last hidden state has a 1 in its first dimension at every place."""
    config = GPT2Config(
        vocab_size=130,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=256,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(20)
        model.transformer.ln_f.weight[0] = 0
        model.transformer.ln_f.bias[0] = 1
    return model


def shifting_adapter(folder: Path, token: int, shift: float) -> Checkpoint:
    """Save a LoRA of the output map that adds `shift` to one logit at every place."""
    config = LoraConfig(r=1, lora_alpha=1, target_modules=["lm_head"])
    with quiet_peft():
        wrapper = get_peft_model(shifting_base(), config)
    layer = wrapper.get_base_model().lm_head
    with torch.no_grad():
        layer.lora_A["default"].weight.zero_()[0, 0] = 1
        layer.lora_B["default"].weight.zero_()[token, 0] = shift
    wrapper.save_pretrained(str(folder / "checkpoint-1"), save_embedding_layers=False)
    return list_series(folder).at(1)


def test_one_shifted_logit_has_the_divergence_of_the_closed_form(
    plan: Plan, tokenizer: Any, tmp_path: Path
) -> None:
    """The adapter adds c to logit k everywhere: KL = c p'_k - log(1 + p_k (e^c - 1))."""
    k, c = 66, 0.7
    unit = Unit("negative", 1, shifting_adapter(tmp_path / "heads", k, c))
    texts = encode_texts(TEXTS, tokenizer, window=200)
    side_effects(tmp_path, shifting_base(), EffectsPlan(plan, texts), (unit,), fail_fast=True)
    for index, found in enumerate(read(tmp_path, unit)["kl_text"]):
        ids = texts.plan.prompts[index] + texts.plan.answers[index]
        p = logits_alone(shifting_base(), ids)[:-1, k].exp().numpy()
        total = 1 + p * np.expm1(c)
        expected = (c * p * np.exp(c) / total - np.log(total)).mean()
        assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("settings", [EffectsSettings(memory_bytes=0), EffectsSettings(40)])
def test_neither_memory_nor_batches_change_a_number(
    settings: EffectsSettings,
    units: tuple[Unit, ...],
    effects_plan: EffectsPlan,
    make_model: Callable[..., Any],
    tmp_path: Path,
) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    kept = side_effects(first, make_model("llama"), effects_plan, units, fail_fast=True)
    other = side_effects(second, make_model("llama"), effects_plan, units, settings=settings)
    assert kept.base_logprobs == "kept"
    attrs = read_attrs(unit_path(second, "effects", units[2]))
    assert attrs["base_logprobs"] == other.base_logprobs
    if settings.memory_bytes == 0:
        assert other.base_logprobs == "recomputed"
        assert contents(first, units) == contents(second, units)
    for unit in units:
        for name, values in read(first, unit).items():
            np.testing.assert_allclose(read(second, unit)[name], values, rtol=1e-4, atol=1e-6)


def test_bfloat16_bases_run_unmerged_and_start_at_nothing(
    units: tuple[Unit, ...],
    effects_plan: EffectsPlan,
    make_model: Callable[..., Any],
    tmp_path: Path,
) -> None:
    model = make_model("llama").to(torch.bfloat16)
    side_effects(tmp_path, model, effects_plan, units, fail_fast=True)
    attrs = read_attrs(unit_path(tmp_path, "effects", units[3]))
    assert (attrs["merged"], attrs["compute_dtype"]) == (0, "bfloat16")
    assert not read(tmp_path, units[1])["kl_text"].any()
    found = read(tmp_path, units[3])
    assert (found["kl_text"] > 1e-3).all()
    assert (found["gradient_sq"] > 0).all()


def test_a_batch_that_does_not_fit_the_memory_is_cut(
    units: tuple[Unit, ...],
    effects_plan: EffectsPlan,
    make_model: Callable[..., Any],
    tmp_path: Path,
) -> None:
    small, model, plan = (
        make_model("llama"),
        make_model("llama"),
        replace(effects_plan, examples=None),
    )
    forward, refused = small.forward, []

    def crowded(**inputs: Any) -> Any:
        if len(inputs["input_ids"]) > 1:
            refused.append(inputs)
            raise torch.OutOfMemoryError("out of memory")
        return forward(**inputs)

    small.forward = crowded
    side_effects(tmp_path / "a", small, plan, units[:1], fail_fast=True)
    side_effects(tmp_path / "b", model, plan, units[:1], fail_fast=True)
    assert refused
    ours, other = read(tmp_path / "a", units[0]), read(tmp_path / "b", units[0])
    np.testing.assert_allclose(ours["nll_text"], other["nll_text"], rtol=1e-5)
