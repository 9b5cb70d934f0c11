"""One tiny random model per family that activations are collected from, by short name."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    Phi3Config,
    PhiConfig,
    Qwen2Config,
    Qwen3Config,
)

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
WINDOW = 12  # shorter than every prompt of the tests' plans
ENDS = {"bos_token_id": 0, "eos_token_id": 0}  # inside the vocabulary
KINDS = ["sliding_attention", "full_attention", "sliding_attention"]
CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaConfig(**SHAPE),
    "gpt2": lambda: GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=3, n_head=4, n_positions=256, **ENDS
    ),
    "gpt_neox": lambda: GPTNeoXConfig(**WIDE),
    "qwen2": lambda: Qwen2Config(**SHAPE),
    "qwen2_window": lambda: Qwen2Config(
        **SHAPE, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1
    ),
    "qwen3": lambda: Qwen3Config(**SHAPE, head_dim=8),
    "mistral": lambda: MistralConfig(**SHAPE, sliding_window=None),
    "mistral_window": lambda: MistralConfig(**SHAPE, sliding_window=WINDOW),
    "gemma": lambda: GemmaConfig(**SHAPE, head_dim=8),
    "gemma2": lambda: Gemma2Config(**SHAPE, head_dim=8, sliding_window=WINDOW),
    "gemma3": lambda: Gemma3TextConfig(
        **SHAPE, head_dim=8, sliding_window=WINDOW, layer_types=KINDS
    ),
    "gpt_neo": lambda: GPTNeoConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        intermediate_size=48,
        attention_types=[[["global", "local"], 1]],
        window_size=16,
        max_position_embeddings=256,
        **ENDS,
    ),
    "opt": lambda: OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        ffn_dim=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=256,
        word_embed_proj_dim=32,
        pad_token_id=1,
        **ENDS,
    ),
    "phi": lambda: PhiConfig(**WIDE),
    "phi3": lambda: Phi3Config(**SHAPE, pad_token_id=0, sliding_window=None, **ENDS),
    "phi3_window": lambda: Phi3Config(**SHAPE, pad_token_id=0, sliding_window=WINDOW, **ENDS),
}
_TARGETS = {
    "gpt2": ["c_attn", "c_proj", "c_fc"],
    "gpt_neox": ["query_key_value", "dense_4h_to_h"],
    "gpt_neo": ["q_proj", "c_proj"],
    "opt": ["q_proj", "fc1", "fc2"],
    "phi": ["q_proj", "fc1", "fc2"],
    "phi3": ["qkv_proj", "gate_up_proj", "down_proj"],
}


def targets_of(family: str) -> list[str]:
    """Name the linear maps that a LoRA of the tests sits on."""
    return _TARGETS.get(family.removesuffix("_window"), ["q_proj", "down_proj", "up_proj"])


def build_model(family: str, seed: int = 0) -> Any:
    """Draw a model; equal seeds give equal weights."""
    torch.manual_seed(seed)
    config = CONFIGS[family]()
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():  # random weights are near uniform: make attention and MLP matter
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6.0)
    return model
