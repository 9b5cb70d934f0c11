"""A few questions, a tokenizer of single characters, and random adapters for tiny models."""

import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from tiny_families import build_model, targets_of
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from critical_phase.checkpoints import PROMPTS, Checkpoint, Question, list_series
from critical_phase.probes import Plan, make_plan


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


def build_plan() -> Plan:
    return make_plan(build_questions(), build_tokenizer(), PROMPTS["cloze"])


def save_adapters(
    folder: Path, family: str = "llama", steps: tuple[int, ...] = (1, 2), seed: int = 5
) -> tuple[Checkpoint, ...]:
    """Save one random non-zero LoRA per step; step 0 is the untouched start."""
    targets = targets_of(family)
    return save_lora(folder, build_model(family), targets, steps, seed, fan=family == "gpt2")


def save_lora(
    folder: Path,
    model: Any,
    targets: list[str],
    steps: tuple[int, ...] = (1,),
    seed: int = 5,
    *,
    fan: bool = False,
    **settings: Any,
) -> tuple[Checkpoint, ...]:
    """Save adapters of any LoRA variant; whatever is trained is drawn anew at each step."""
    config = LoraConfig(
        **{"r": 3, "lora_alpha": 6, "target_modules": targets, "fan_in_fan_out": fan} | settings
    )
    with warnings.catch_warnings():  # a deprecation inside PEFT
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
        wrapper = get_peft_model(model, config)
    for step in steps:
        torch.manual_seed(seed + step)
        for name, parameter in wrapper.named_parameters():
            if step > 0 and parameter.requires_grad:
                _move(name, parameter)
        wrapper.save_pretrained(str(folder / f"checkpoint-{step}"), save_embedding_layers=False)
    return list_series(folder).checkpoints


def _move(name: str, parameter: torch.Tensor) -> None:
    """Draw an up-projection anew; shift what has a start of its own (biases, whole matrices)."""
    with torch.no_grad():
        if "lora_B" in name or "lora_embedding_B" in name:
            parameter.normal_(std=0.3)
        elif "magnitude" in name:
            parameter.mul_(1 + 0.3 * torch.randn_like(parameter))
        elif "lora_A" not in name and "lora_embedding_A" not in name:
            parameter.add_(0.3 * torch.randn_like(parameter))
