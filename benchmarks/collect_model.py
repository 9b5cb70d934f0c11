"""What benchmarks/collect.py measures on: a random Llama, a series of LoRAs, random questions."""

from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from critical_phase.checkpoints import Checkpoint, list_series
from critical_phase.probes import Plan

SHAPES: dict[str, dict[str, int]] = {
    "quick": dict(hidden_size=256, intermediate_size=704, num_hidden_layers=6, vocab_size=4000),
    "30m": dict(hidden_size=512, intermediate_size=1408, num_hidden_layers=8, vocab_size=8000),
    "7b": dict(
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        vocab_size=32000,
        num_attention_heads=32,
        num_key_value_heads=8,
    ),
}
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def make_model(
    folder: Path, shape: dict[str, int], dtype: torch.dtype, device: str
) -> LlamaForCausalLM:
    torch.manual_seed(0)
    heads = {"num_attention_heads": 8, "num_key_value_heads": 4}
    config = LlamaConfig(**(heads | shape), max_position_embeddings=512, dtype=dtype)
    with torch.device(device):
        model = LlamaForCausalLM(config).to(dtype).eval()
    model.save_pretrained(folder / "base")
    return model


def make_adapters(folder: Path, model: LlamaForCausalLM, count: int) -> tuple[Checkpoint, ...]:
    wrapper = get_peft_model(model, LoraConfig(r=16, lora_alpha=16, target_modules=LINEARS))
    for step in range(1, count + 1):
        torch.manual_seed(step)
        for name, parameter in wrapper.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02)
        wrapper.save_pretrained(str(folder / "heads" / f"checkpoint-{step}"))
    return list_series(folder / "heads").checkpoints


def make_plan(*, questions: int, vocabulary: int, candidates: int = 4) -> Plan:
    """Draw questions of 80 to 111 tokens with candidates of 12 to 19."""
    rng = np.random.default_rng(0)

    def text(low: int, high: int) -> tuple[int, ...]:
        return tuple(rng.integers(1, vocabulary, rng.integers(low, high)).tolist())

    rows = questions * candidates
    return Plan(
        question_ids=tuple(f"q{i}" for i in range(questions)),
        groups=("",) * questions,
        question_texts=("",) * questions,
        prompts=tuple(text(80, 112) for _ in range(questions)),
        answers=tuple(text(12, 20) for _ in range(rows)),
        texts=tuple(str(row) for row in range(rows)),
        question=np.repeat(np.arange(questions), candidates),
        candidate=np.tile(np.arange(candidates), questions),
        correct=np.arange(rows) % candidates == 0,
        prompt_format="none",
    )
