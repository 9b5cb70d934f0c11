"""A linear-softmax language model with one low-rank update, whose curvature is known by hand."""

from types import SimpleNamespace
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

VOCABULARY, WIDTH = 7, 4


class SoftmaxModel(nn.Module):
    """Logits W x of the last token alone, x a fixed vector per token; W has an adapter."""

    def __init__(self, rank: int = 2) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.vectors = torch.randn(VOCABULARY, WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=["head"])
        inject_adapter_in_model(config, self)  # type: ignore[no-untyped-call]
        for name, parameter in self.named_parameters():
            parameter.requires_grad_("lora_" in name)
        with torch.no_grad():
            self.factors["lora_B"].normal_(std=0.5)
        self.eval()

    @property
    def device(self) -> torch.device:
        return self.vectors.device

    @property
    def factors(self) -> dict[str, torch.Tensor]:
        layer: Any = self.head
        return {name: getattr(layer, name)["default"].weight for name in ("lora_A", "lora_B")}

    def forward(self, input_ids: torch.Tensor, **_: object) -> SimpleNamespace:
        return SimpleNamespace(logits=self.head(self.vectors[input_ids]))
