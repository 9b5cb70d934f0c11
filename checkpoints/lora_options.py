"""Which options of peft.LoraConfig a recipe may set."""

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from peft import LoraConfig

from critical_phase.errors import ConfigError

ELSEWHERE = {
    "r": "set it with --rank",
    "lora_alpha": "set it with --alpha",
    "target_modules": "set it with --targets",
    "fan_in_fan_out": "leave it out: it is read from the model",
    "task_type": "leave it out: heads are causal language models",
    "peft_type": "leave it out: heads are LoRA adapters",
    "inference_mode": "leave it out: it would freeze the adapter",
    "base_model_name_or_path": "set it with --model",
    "revision": "leave it out: the base is told apart by the hash of its weights",
    "auto_mapping": "leave it out: PEFT writes it",
    "alora_invocation_tokens": "leave it out: such adapters act behind these tokens alone",
    "peft_version": "leave it out: PEFT writes it",
}
"""Options of LoraConfig that a recipe sets by another name, or not at all."""

NEUTRAL_STARTS = ("gaussian", "mica")
"""Values of init_lora_weights, beside true, that leave base and output exactly alone."""


def check_lora(options: Mapping[str, Any]) -> None:
    """Refuse options that PEFT does not know, that live elsewhere, or that move the start.

    Raises:
        ConfigError: Names the option and what to do.
    """
    known = {field.name for field in fields(LoraConfig)} - set(ELSEWHERE)
    for name in options:
        if name in ELSEWHERE:
            raise ConfigError(f"LoRA option {name!r} cannot be given here", fix=ELSEWHERE[name])
        if name not in known:
            near = get_close_matches(name, known, n=1)
            fix = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
            raise ConfigError(f"unknown LoRA option {name!r}", fix=fix)
    start = options.get("init_lora_weights", True)
    if start is not True and start not in NEUTRAL_STARTS:
        raise ConfigError(
            f"init_lora_weights {start!r} changes the base or its output at once, "
            "so step 0 would not be the base",
            fix="use true, gaussian or mica",
        )
    if options.get("layer_replication"):
        raise ConfigError(
            "layer_replication changes the base, so step 0 would not be the base",
            fix="leave it out",
        )
