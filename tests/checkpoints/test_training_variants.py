"""Families of models, options of LoRA and types of the base, a step or two each."""

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from tiny_models import WORDS, tiny_gpt2, tiny_llama
from tiny_training import hashes, head_folder, random_examples, train
from transformers import (
    AutoModelForCausalLM,
    GPTNeoXConfig,
    OPTConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
)

from critical_phase.checkpoints import Recipe, list_series
from critical_phase.checkpoints.fresh_adapter import step_generator
from critical_phase.checkpoints.peft_state import quiet_peft
from critical_phase.checkpoints.training_loop import TrainingLoop
from critical_phase.errors import CheckpointError, ConfigError

SIZES = dict(vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2)
NEOX = GPTNeoXConfig(**SIZES, intermediate_size=32, max_position_embeddings=64)
OPT = OPTConfig(**SIZES, ffn_dim=32, word_embed_proj_dim=16, max_position_embeddings=64)
QWEN = Qwen2Config(**SIZES, intermediate_size=32, num_key_value_heads=1, max_position_embeddings=64)
MLP = ("gate_proj", "up_proj", "down_proj")


def base(config: PretrainedConfig | str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    if config == "llama":
        return tiny_llama().to(dtype)
    if config == "gpt2":
        return tiny_gpt2().to(dtype)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config).to(dtype).eval()


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([[3, 5, 7, 9, 4]])).logits


@pytest.mark.parametrize(
    ("config", "targets"),
    [
        ("llama", MLP),
        ("gpt2", ("c_fc", "c_proj")),
        (NEOX, ("dense_h_to_4h", "dense_4h_to_h")),
        (OPT, ("fc1", "fc2")),
        (QWEN, MLP),
        (QWEN, ("all-linear",)),
    ],
    ids=["llama", "gpt2", "neox", "opt", "qwen2", "qwen2-all"],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_family_starts_at_the_base_and_one_step_moves_it(
    config: PretrainedConfig | str, targets: tuple[str, ...], dtype: str, tmp_path: Path
) -> None:
    kind = getattr(torch, dtype)
    recipe = Recipe(steps=1, batch_size=2, lr=0.1, rank=2, alpha=32, targets=targets, dtype=dtype)
    train(base(config, kind), tmp_path, recipe)
    before = logits(base(config, kind))
    series = list_series(tmp_path)
    for step in (0, 1):
        with quiet_peft():
            model = PeftModel.from_pretrained(base(config, kind), str(series.at(step).path)).eval()
        assert torch.equal(logits(model), before) == (step == 0)


def test_adapters_on_a_bfloat16_base_stay_float32(tmp_path: Path) -> None:
    recipe = Recipe(steps=2, batch_size=2, rank=2, dtype="bfloat16")
    loop = TrainingLoop(base("llama", torch.bfloat16), random_examples(4), recipe, seed=0, pad_id=1)
    assert {p.dtype for p in loop.parameters.values()} == {torch.float32}
    loop.advance()
    assert {t.dtype for t in loop.optimizer_tensors().values()} == {torch.float32}


def test_a_base_of_another_type_than_the_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="says a base in bfloat16, but its weights are float32"):
        train(base("llama"), tmp_path, Recipe(steps=1, batch_size=2, dtype="bfloat16"))


def test_what_would_be_trained_in_bfloat16_is_refused(tmp_path: Path) -> None:
    lora = (("modules_to_save", ["lm_head"]),)
    recipe = Recipe(steps=1, batch_size=2, lora=lora, dtype="bfloat16")
    with pytest.raises(ConfigError, match=r"lm_head.* would be trained in bfloat16"):
        train(base("llama", torch.bfloat16), tmp_path, recipe)


@pytest.mark.parametrize(
    "lora",
    [
        {"use_rslora": True},
        {"use_dora": True},
        {"use_dora": True, "lora_dropout": 0.3},
        {"lora_dropout": 0.3},
        {"modules_to_save": ["lm_head"]},
        {"init_lora_weights": "gaussian"},
        {"rank_pattern": {"up_proj": 1}, "alpha_pattern": {"up_proj": 3}},
        {"layers_to_transform": [1]},
        {"trainable_token_indices": [3, 4]},
        {"bias": "lora_only"},
    ],
    ids=lambda lora: "+".join(lora),
)
def test_options_of_lora_train_and_a_repeat_gives_equal_bits(
    lora: dict[str, object], tmp_path: Path
) -> None:
    recipe = Recipe(steps=3, batch_size=2, lr=1e-2, rank=2, lora=tuple(lora.items()))
    for name in ("one", "two"):
        train(tiny_llama(), tmp_path / name, recipe)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    assert len(set(hashes(tmp_path / "one").values())) == 4
    with quiet_peft():
        first = PeftModel.from_pretrained(tiny_llama(), str(tmp_path / "one" / "checkpoint-0"))
    assert torch.allclose(logits(first.eval()), logits(tiny_llama()), atol=1e-6)


def test_dropout_is_that_of_adapters_alone() -> None:
    lora = (("lora_dropout", 0.5),)
    recipe = Recipe(steps=2, batch_size=2, rank=2, targets=("c_fc",), lora=lora)
    loop = TrainingLoop(tiny_gpt2(), random_examples(4), recipe, seed=0, pad_id=1)
    drawing = [n for n, m in loop.adapter.named_modules() if "Dropout" in str(m) and m.training]
    assert drawing
    assert all("lora_dropout" in name or name.endswith("c_fc") for name in drawing)


def test_dropout_draws_by_seed_step_and_process_and_leaves_the_global_generator() -> None:
    recipe, before, seen = Recipe(lora=(("lora_dropout", 0.5),)), torch.get_rng_state(), set()
    for place in ((0, 1, 0), (1, 1, 0), (0, 2, 0), (0, 1, 1), (0, 1, 0)):
        with step_generator(recipe, *place):
            seen.add(float(torch.rand(())))
    assert len(seen) == 4
    assert torch.equal(torch.get_rng_state(), before)


def test_an_option_that_moves_the_start_is_found_by_what_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("critical_phase.checkpoints.lora_options.NEUTRAL_STARTS", ("olora",))
    recipe = Recipe(steps=1, batch_size=2, rank=2, lora=(("init_lora_weights", "olora"),))
    loop = TrainingLoop(tiny_llama(), random_examples(2), recipe, seed=0, pad_id=1)
    assert loop.step == 0  # OLoRA keeps the sum of base and adapter
    monkeypatch.setattr("critical_phase.checkpoints.lora_options.NEUTRAL_STARTS", (False,))
    recipe = Recipe(steps=1, batch_size=2, rank=2, lora=(("init_lora_weights", False),))
    with pytest.raises(ConfigError, match="step 0 would not be the base: its logits differ by"):
        TrainingLoop(tiny_llama(), random_examples(2), recipe, seed=0, pad_id=1)


def test_options_that_peft_refuses_are_a_clear_error(tmp_path: Path) -> None:
    recipe = Recipe(steps=1, batch_size=2, lora=(("layers_pattern", "layers"),))
    with pytest.raises(ConfigError, match=r"PEFT refuses the LoRA options: .*layers_to_transform"):
        train(tiny_llama(), tmp_path, recipe)


def test_a_state_of_another_adapter_is_refused(tmp_path: Path) -> None:
    train(tiny_llama(), tmp_path, Recipe(steps=2, batch_size=2, rank=2))
    state = head_folder(tmp_path, Recipe(steps=2, batch_size=2, rank=2)).state(2)
    other = Recipe(steps=2, batch_size=2, rank=2, targets=("up_proj",))
    loop = TrainingLoop(tiny_llama(), random_examples(4), other, seed=0, pad_id=1)
    with pytest.raises(CheckpointError, match="state of step 2 belongs to another adapter"):
        loop.restore(state)
