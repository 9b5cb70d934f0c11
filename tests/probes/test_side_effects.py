"""Side effects are exact against slow references, and their files resume like any other."""

import errno
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, GPT2Config

from critical_phase.checkpoints import Checkpoint, Example, list_series, quiet_peft
from critical_phase.errors import CheckpointError, ConfigError, StoreError
from critical_phase.probes import (
    EffectsPlan,
    EffectsSettings,
    Plan,
    Unit,
    draw_for_gradients,
    encode_texts,
    make_units,
    read_attrs,
    read_effects,
    side_effects,
    unit_path,
    validate,
)

TEXTS = ("A plain text about nothing.", "Rain.", "Longer: " + "the sun is up and so are we " * 3)


def examples() -> list[Example]:
    return [Example(f"q{i}", "a", (0, 40 + i), (60 + i, 61)) for i in range(12)]


@pytest.fixture
def units(tmp_path: Path, make_adapters: Callable[..., Any]) -> tuple[Unit, ...]:
    return make_units({"negative": make_adapters(tmp_path / "heads", "llama", (0, 1, 2))})


@pytest.fixture
def effects_plan(plan: Plan, tokenizer: Any) -> EffectsPlan:
    drawn = draw_for_gradients(examples(), 5, np.random.default_rng(0))
    return EffectsPlan(plan, encode_texts(TEXTS, tokenizer, window=200), {"negative": drawn})


def read(run: Path, unit: Unit) -> dict[str, np.ndarray]:
    return read_effects(unit_path(run, "effects", unit))


def contents(run: Path, units: tuple[Unit, ...]) -> list[dict[str, Any]]:
    return [{k: v.tolist() for k, v in read(run, unit).items()} for unit in units]


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


def test_long_texts_go_on_in_the_next_window_and_nothing_is_dropped(tokenizer: Any) -> None:
    whole, cut = (encode_texts(TEXTS, tokenizer, window=w) for w in (500, 8))
    assert whole.windows.tolist() == [1, 1, 1]
    assert cut.windows.tolist() == [-(-len(text) // 7) for text in TEXTS]
    np.testing.assert_array_equal(whole.tokens, cut.tokens)
    assert max(map(len, cut.plan.answers)) == 7
    for text in range(len(TEXTS)):
        rows = np.flatnonzero(cut.owner == text).tolist()
        predicted = tuple(token for row in rows for token in cut.plan.answers[row])
        assert predicted == whole.plan.answers[text]
        for row, after in pairwise(rows):
            assert cut.plan.prompts[after] == cut.plan.answers[row][-1:]
    assert whole.sha256 != cut.sha256


def test_a_text_s_mean_weights_its_windows_by_tokens(tokenizer: Any) -> None:
    texts = encode_texts(("abcdefghij",), tokenizer, window=8)  # 7 and 3 predicted tokens
    assert texts.mean(np.array([1.0, 2.0])).tolist() == pytest.approx([1.3])


@pytest.mark.parametrize(
    ("texts", "window", "problem"),
    [
        ((), 8, "there is no neutral text"),
        (("fine", ""), 8, r"text 2 \(''\) has no token"),
        (("fine",), 1, "a window of 1 tokens predicts nothing"),
    ],
)
def test_texts_that_predict_nothing_are_refused(
    texts: tuple[str, ...], window: int, problem: str, tokenizer: Any
) -> None:
    with pytest.raises(ConfigError, match=problem):
        encode_texts(texts, tokenizer, window=window)


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


def test_repeating_does_nothing_and_order_does_not_matter(
    units: tuple[Unit, ...],
    effects_plan: EffectsPlan,
    make_model: Callable[..., Any],
    tmp_path: Path,
) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    side_effects(first, make_model("llama"), effects_plan, units, fail_fast=True)
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*.h5")}
    again = side_effects(first, make_model("llama"), effects_plan, units)
    assert (again.done, again.existing) == ((), units)
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*.h5")} == before
    side_effects(second, make_model("llama"), effects_plan, units[::-1])
    assert contents(first, units) == contents(second, units)


def test_other_texts_or_examples_are_refused_with_the_difference(
    units: tuple[Unit, ...],
    effects_plan: EffectsPlan,
    tokenizer: Any,
    make_model: Callable[..., Any],
    tmp_path: Path,
) -> None:
    side_effects(tmp_path, make_model("llama"), effects_plan, units[:2], fail_fast=True)
    texts = replace(effects_plan, texts=encode_texts(TEXTS[:2], tokenizer, window=200))
    with pytest.raises(StoreError, match=r"another way .*texts_sha256: stored"):
        side_effects(tmp_path, make_model("llama"), texts, units[:2])
    drawn = draw_for_gradients(examples(), 4, np.random.default_rng(1))
    fewer = replace(effects_plan, examples={"negative": drawn})
    with pytest.raises(StoreError, match=r"another way .*examples_sha256: stored"):
        side_effects(tmp_path, make_model("llama"), fewer, units[:2])
    done = side_effects(tmp_path, make_model("llama"), fewer, units[:2], overwrite=True).done
    assert done == units[1:2]
    assert read(tmp_path, units[1])["gradient_sq"].shape == (4,)


def test_a_failing_unit_is_noted_and_the_rest_goes_on(
    units: tuple[Unit, ...],
    effects_plan: EffectsPlan,
    make_model: Callable[..., Any],
    tmp_path: Path,
) -> None:
    assert units[2].checkpoint is not None
    weights = units[2].checkpoint.path / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-40])
    report = side_effects(tmp_path, make_model("llama"), effects_plan, units)
    assert [failure.unit for failure in report.failed] == [units[2]]
    noted = json.loads((tmp_path / "failed/effects-negative-step-00000001.json").read_text())
    assert noted["command"] == "effects"
    weights.write_bytes(whole)
    again = side_effects(tmp_path, make_model("llama"), effects_plan, units)
    assert (again.done, len(again.existing)) == ((units[2],), 3)
    assert not report.failed[0].path.exists()


def test_a_diverged_model_writes_no_number(
    effects_plan: EffectsPlan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    model = make_model("llama")
    model.lm_head.weight.data[3] = float("nan")
    report = side_effects(tmp_path, model, effects_plan, (Unit("base", 0),))
    assert "the model gives nan as to_base of 'q0'" in report.failed[0].message
    assert not list(tmp_path.rglob("*.h5"))


def test_adapters_that_do_not_reach_the_model_are_refused(
    units: tuple[Unit, ...],
    effects_plan: EffectsPlan,
    make_model: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from critical_phase.probes.slots import ModelSlot

    held = ModelSlot.holding
    monkeypatch.setattr(ModelSlot, "holding", lambda slot, unit: held(slot, units[3]))
    plan = replace(effects_plan, examples=None)
    with pytest.raises(CheckpointError, match=r"hold different adapters .* exactly the same"):
        side_effects(tmp_path, make_model("llama"), plan, units[2:])


def test_a_full_disk_ends_the_call_and_keeps_what_is_finished(
    units: tuple[Unit, ...],
    effects_plan: EffectsPlan,
    make_model: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    synced: list[Path] = []

    def full(path: Path) -> None:
        synced.append(path)
        if len(synced) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("critical_phase.atomic.sync_file", full)
        with pytest.raises(StoreError, match="the disk is full"):
            side_effects(tmp_path, make_model("llama"), effects_plan, units)
    assert len(list(tmp_path.rglob("*.h5"))) == 2
    assert not list(tmp_path.rglob("*.tmp"))
    report = side_effects(tmp_path, make_model("llama"), effects_plan, units)
    assert (len(report.existing), len(report.done)) == (2, 2)


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
import conftest, critical_phase.atomic as atomic
from critical_phase.checkpoints import PROMPTS, list_series
from critical_phase.probes import EffectsPlan, encode_texts, make_plan, make_units, side_effects
sync, count = atomic.sync_file, []
def killing(path):
    count.append(path)
    if len(count) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    sync(path)
atomic.sync_file = killing
tokenizer = conftest.build_tokenizer()
plan = make_plan(conftest.build_questions(), tokenizer, PROMPTS["cloze"])
units = make_units({{"negative": list_series(Path({heads!r})).checkpoints}})
texts = encode_texts({texts!r}, tokenizer, window=200)
side_effects(Path({run!r}), conftest.build_model("llama"), EffectsPlan(plan, texts), units)
"""


def test_a_killed_measurement_resumes_to_the_very_same_values(
    units: tuple[Unit, ...],
    effects_plan: EffectsPlan,
    make_model: Callable[..., Any],
    tmp_path: Path,
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    tests, heads = str(Path(__file__).parent), str(tmp_path / "heads")
    code = KILLED.format(tests=tests, heads=heads, run=str(run), texts=TEXTS)
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert result.returncode == -signal.SIGKILL, result.stderr.decode()
    assert len(list(run.rglob("*.h5"))) == 2
    assert len(list(run.rglob("*.tmp"))) == 1
    plan = replace(effects_plan, examples=None)
    report = side_effects(run, make_model("llama"), plan, units)
    assert (len(report.existing), len(report.done)) == (2, 2)
    assert not list(run.rglob("*.tmp"))
    side_effects(whole, make_model("llama"), plan, units)
    assert contents(run, units) == contents(whole, units)


def test_a_breach_of_the_format_is_named(
    units: tuple[Unit, ...],
    effects_plan: EffectsPlan,
    make_model: Callable[..., Any],
    tmp_path: Path,
) -> None:
    side_effects(tmp_path, make_model("llama"), effects_plan, units[1:2], fail_fast=True)
    path = unit_path(tmp_path, "effects", units[1])
    with h5py.File(path, "a") as file:
        del file["kl_text_reverse"], file["gradient_sq"], file.attrs["texts_sha256"]
        file["kl_question"][0] = -1.0
    with pytest.raises(StoreError) as caught:
        validate(path)
    for problem in (
        "no attribute texts_sha256",
        "no dataset kl_text_reverse",
        "no dataset gradient_sq",
        "kl_question: a value is negative",
    ):
        assert problem in str(caught.value)


def test_another_kind_of_file_is_refused(
    units: tuple[Unit, ...],
    effects_plan: EffectsPlan,
    make_model: Callable[..., Any],
    tmp_path: Path,
) -> None:
    from critical_phase.probes import read_scores

    side_effects(tmp_path, make_model("llama"), effects_plan, units[:1], fail_fast=True)
    with pytest.raises(StoreError, match=r"of the convention 'probe-scores/1\.0'"):
        read_scores(unit_path(tmp_path, "effects", units[0]))
