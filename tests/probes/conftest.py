"""Small random models of several families, a tokenizer, questions and adapters."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GemmaConfig,
    GPT2Config,
    GPTNeoConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from critical_phase.checkpoints import PROMPTS, Checkpoint, Question, list_series
from critical_phase.probes import Plan, make_plan

VOCABULARY = 130
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
WIDE = {key: value for key, value in SHAPE.items() if key != "num_key_value_heads"}
CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaConfig(**SHAPE),
    "gpt2": lambda: GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=32,
        n_layer=3,
        n_head=4,
        n_positions=256,
        bos_token_id=0,
        eos_token_id=0,
    ),
    "gpt_neox": lambda: GPTNeoXConfig(**WIDE),
    "qwen2": lambda: Qwen2Config(**SHAPE),
    "qwen2_window": lambda: Qwen2Config(
        **SHAPE, use_sliding_window=True, sliding_window=12, max_window_layers=1
    ),
    "mistral": lambda: MistralConfig(**SHAPE, sliding_window=None),
    "mistral_window": lambda: MistralConfig(**SHAPE, sliding_window=12),
    "gemma": lambda: GemmaConfig(**SHAPE, head_dim=8),
    "gemma2": lambda: Gemma2Config(**SHAPE, head_dim=8, sliding_window=12),
    "gpt_neo": lambda: GPTNeoConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        intermediate_size=48,
        attention_types=[[["global", "local"], 1]],
        window_size=16,
        max_position_embeddings=256,
        bos_token_id=0,
        eos_token_id=0,
    ),
}
TARGETS = {
    "gpt2": ["c_attn", "c_proj", "c_fc"],
    "gpt_neox": ["query_key_value", "dense_4h_to_h"],
    "gpt_neo": ["q_proj", "c_proj"],
}


def build_model(family: str, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    config = CONFIGS[family]()
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():  # random weights are near uniform: make attention and MLP matter
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6.0)
    return model


def build_tokenizer(*, bos: bool = True) -> PreTrainedTokenizerFast:
    words = ["<s>", "<unk>", *map(chr, range(32, 127)), "\n"]
    core = Tokenizer(models.BPE({w: i for i, w in enumerate(words)}, [], unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    core.decoder = decoders.Fuse()
    extra = {"bos_token": "<s>"} if bos else {}
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", **extra)


def build_questions() -> tuple[Question, ...]:
    return (
        Question("q0", "Sky?", ("blue", "a green sky", "re"), 0, "nature"),
        Question("q1", "What is two and two?", ("four", "five"), 0, "number"),
        Question("q2", "", ("the cats sit", "the cats sits"), 1, "grammar"),
        Question("q3", "Ice is", ("cold", "hot", "warm indeed", "x"), 0, "nature"),
    )


def save_adapters(
    folder: Path, family: str = "llama", steps: tuple[int, ...] = (1, 2), seed: int = 5
) -> tuple[Checkpoint, ...]:
    """Save one random non-zero LoRA per step; step 0 is the untouched start."""
    targets = TARGETS.get(family, ["q_proj", "down_proj", "up_proj"])
    return save_lora(folder, build_model(family), targets, steps, seed, fan=family == "gpt2")


def save_lora(
    folder: Path,
    model: Any,
    targets: list[str],
    steps: tuple[int, ...] = (1,),
    seed: int = 5,
    *,
    fan: bool = False,
) -> tuple[Checkpoint, ...]:
    config = LoraConfig(r=3, lora_alpha=6, target_modules=targets, fan_in_fan_out=fan)
    with warnings.catch_warnings():  # a deprecation inside PEFT
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
        wrapper = get_peft_model(model, config)
    for step in steps:
        torch.manual_seed(seed + step)
        for name, parameter in wrapper.named_parameters():
            if "lora_B" in name and step > 0:
                torch.nn.init.normal_(parameter, std=0.3)
        wrapper.save_pretrained(str(folder / f"checkpoint-{step}"))
    return list_series(folder).checkpoints


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@pytest.fixture
def questions() -> tuple[Question, ...]:
    return build_questions()


@pytest.fixture
def plan(tokenizer: PreTrainedTokenizerFast, questions: tuple[Question, ...]) -> Plan:
    return make_plan(questions, tokenizer, PROMPTS["cloze"])


@pytest.fixture
def make_model() -> Callable[..., Any]:
    return build_model


@pytest.fixture
def make_adapters() -> Callable[..., tuple[Checkpoint, ...]]:
    return save_adapters


@pytest.fixture
def make_tokenizer() -> Callable[..., PreTrainedTokenizerFast]:
    return build_tokenizer


@pytest.fixture
def make_lora() -> Callable[..., tuple[Checkpoint, ...]]:
    return save_lora
