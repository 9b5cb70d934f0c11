"""Settings of an adapter that change the model but not its tensors."""

from collections.abc import Sequence
from typing import Any

from critical_phase.checkpoints.series import Checkpoint, adapter_config
from critical_phase.differences import apart

# Two adapters that differ here must never be exchanged in place.
FIXED_SETTINGS = (
    "peft_type",
    "r",
    "lora_alpha",
    "use_rslora",
    "use_dora",
    "target_modules",
    "modules_to_save",
    "bias",
    "lora_bias",
    "rank_pattern",
    "alpha_pattern",
    "fan_in_fan_out",
    "layers_to_transform",
    "trainable_token_indices",
)


def fixed_settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the settings that must agree within a series, in a comparable form."""
    config = adapter_config(checkpoint.path)
    values = {key: config.get(key) or None for key in FIXED_SETTINGS}
    return {k: sorted(v) if isinstance(v, list) else v for k, v in values.items()}


def setting_changes(adapters: Sequence[Checkpoint]) -> list[str]:
    """Say where a setting changes along a series: such steps cannot share one slot."""
    if not adapters:
        return []
    first, found = fixed_settings(adapters[0]), []
    for item in adapters[1:]:
        here = fixed_settings(item)
        for key in (key for key in FIXED_SETTINGS if here[key] != first[key]):
            this, that = apart(here[key], first[key])
            found.append(
                f"step {item.step}: {key} is {this}, but step {adapters[0].step} has {that}: "
                "it cannot be collected in one run with the others"
            )
    return found
