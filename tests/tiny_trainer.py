"""A real Trainer run on the tiny model: a few rows of its words, on the CPU."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from tiny_models import WORDS
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

from critical_phase.checkpoints import load_model, quiet_peft


class Rows(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Fixed random rows; labels are the tokens."""

    def __init__(self, count: int = 32) -> None:
        generator = torch.Generator().manual_seed(5)
        self.rows = torch.randint(2, len(WORDS), (count, 6), generator=generator)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        row = self.rows[index]
        return {"input_ids": row, "labels": row, "attention_mask": torch.ones_like(row)}


def arguments(out: Path, **given: Any) -> TrainingArguments:
    values = {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "max_steps": 20,
        "learning_rate": 0.02,
        "logging_steps": 1,
        "save_strategy": "no",
        "use_cpu": True,
        "report_to": [],
        "disable_tqdm": True,
        "seed": 3,
        "dataloader_pin_memory": False,
    }
    return TrainingArguments(output_dir=str(out), **{**values, **given})


def lora_model(base: Path, **settings: Any) -> Any:
    model, _ = load_model(str(base))
    config = LoraConfig(
        r=4, lora_alpha=8, target_modules=["down_proj", "q_proj"], lora_dropout=0.1, **settings
    )
    with quiet_peft(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return get_peft_model(model, config)


def full_model(base: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(base)


def train(model: Any, out: Path, callbacks: list[Any], **given: Any) -> Trainer:
    trainer = Trainer(model, arguments(out, **given), train_dataset=Rows(), callbacks=callbacks)
    with quiet_peft():
        trainer.train()
    return trainer
