"""How a head is trained, as plain values; the defaults are those of the paper's code.

LoRA of rank 8 and alpha 8 on the MLP, no dropout, no bias; AdamW(.9, .999, 1e-8), no
weight decay, gradients clipped at norm 1, constant rate 1e-4 without warm-up, batches of
8 answers (arXiv 2503.14391 and its released code; that code's Makefile has batches of 32).
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from peft import LoraConfig
from transformers import PreTrainedModel

from critical_phase.checkpoints.lora_options import check_lora
from critical_phase.checkpoints.withheld import Withheld
from critical_phase.errors import ConfigError

MLP_PROJECTIONS = ("gate_proj", "up_proj", "down_proj")
LR_SCHEDULES = ("constant", "linear", "cosine")
BASE_TYPES = ("float32", "bfloat16")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a head is trained; the defaults are the paper's code, except steps."""

    steps: int = 64
    """Optimizer steps."""
    batch_size: int = 8
    """Answers per step; the last step takes what is left."""
    accumulate: int = 1
    """Forward passes that share the answers of one step; changes memory, not the result."""
    lr: float = 1e-4
    """AdamW's largest learning rate."""
    lr_schedule: str = "constant"
    """constant, linear or cosine after warm-up; the latter two are zero after the last step."""
    warmup: int = 0
    """Steps of a linear rise; the rate is reached at this step."""
    weight_decay: float = 0.0
    """AdamW's decoupled decay of the adapter."""
    rank: int = 8
    alpha: int = 8
    """The update is alpha / rank * B @ A."""
    targets: tuple[str, ...] = MLP_PROJECTIONS
    """Names of the linear layers that get an adapter; `("all-linear",)` for every one."""
    lora: tuple[tuple[str, Any], ...] = ()
    """Any other field of peft.LoraConfig with its JSON value, in order of name."""
    dtype: str = "float32"
    """Type of the base's weights, float32 or bfloat16; adapters are float32."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    withheld: Withheld | None = None
    """What a training-time test withholds, for a window of steps; None for ordinary training."""

    def __post_init__(self) -> None:
        """Refuse numbers that cannot train anything."""
        for name in ("steps", "batch_size", "accumulate", "rank", "lr", "alpha", "clip"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, found {getattr(self, name)}")
        for name in ("warmup", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must not be below 0, found {getattr(self, name)}")
        self._check_names()
        self._check_sizes()
        object.__setattr__(self, "lora", _canonical(self.lora))

    def _check_names(self) -> None:
        for name, known in (("lr_schedule", LR_SCHEDULES), ("dtype", BASE_TYPES)):
            value = getattr(self, name)
            if value not in known:
                raise ConfigError(f"unknown {name} {value!r}", fix=f"known: {', '.join(known)}")
        if not self.targets or "all-linear" in self.targets[1:] + self.targets[:-1]:
            raise ConfigError(
                f"targets {', '.join(self.targets) or '(none)'} cannot be used",
                fix="give names of linear layers, or all-linear alone",
            )

    def _check_sizes(self) -> None:
        if self.accumulate > self.batch_size:
            raise ConfigError(
                f"accumulate is {self.accumulate}, but a batch has {self.batch_size} answers",
                fix="give at most as many forward passes as answers",
            )
        if self.warmup and self.warmup >= self.steps:
            raise ConfigError(
                f"a warm-up of {self.warmup} steps leaves none of {self.steps}",
                fix="give fewer steps of warm-up",
            )
        if self.withheld is not None and self.withheld.window[1] > self.steps:
            low, high = self.withheld.window
            raise ConfigError(
                f"the window {low}:{high} ends after the last of {self.steps} steps",
                fix=f"end it at {self.steps} or before",
            )


def recipe_values(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as plain JSON values for files."""
    plain = asdict(replace(recipe, withheld=None))
    # Absent, not null: heads that were trained before such tests existed are the same heads.
    del plain["withheld"]
    found = {**plain, "targets": list(recipe.targets), "lora": dict(recipe.lora)}
    return found if recipe.withheld is None else {**found, "withheld": recipe.withheld.values()}


def learning_rate(recipe: Recipe, step: int) -> float:
    """Return the learning rate of one optimizer step, counted from 1.

    Without warm-up these are the schedules of transformers. With it the first step
    already moves: there the rate of the first step would be zero, and the checkpoints
    of steps 0 and 1 the same.
    """
    if step <= recipe.warmup:
        return recipe.lr * step / recipe.warmup
    if recipe.lr_schedule == "constant":
        return recipe.lr
    done = (step - 1 - recipe.warmup) / (recipe.steps - recipe.warmup)
    if recipe.lr_schedule == "linear":
        return recipe.lr * (1 - done)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * done))


def lora_config(model: PreTrainedModel, recipe: Recipe) -> LoraConfig:
    """Return the PEFT configuration of a recipe for one model.

    Raises:
        ConfigError: PEFT refuses the options.
    """
    targets = list(recipe.targets)
    values = {
        "r": recipe.rank,
        "lora_alpha": recipe.alpha,
        "target_modules": "all-linear" if targets == ["all-linear"] else targets,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": _has_conv1d(model, targets),
        "task_type": "CAUSAL_LM",
        **dict(recipe.lora),
    }
    try:
        return LoraConfig(**values)
    except (ValueError, TypeError, ImportError) as error:
        raise ConfigError(f"PEFT refuses the LoRA options: {str(error).splitlines()[0]}") from error


def _canonical(lora: Any) -> tuple[tuple[str, Any], ...]:
    """Sort LoRA options by name and bring their values to what JSON reads back."""
    pairs = dict(lora)
    check_lora(pairs)
    try:
        plain = json.loads(json.dumps(pairs))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"a LoRA option is no JSON value: {error}") from error
    return tuple(sorted(plain.items()))


def _has_conv1d(model: PreTrainedModel, targets: Sequence[str]) -> bool:
    """Say whether the targets store their weights transposed, as GPT-2 does."""
    return any(
        type(module).__name__ == "Conv1D"
        and (targets == ["all-linear"] or name.rpartition(".")[2] in targets)
        for name, module in model.named_modules()
    )
