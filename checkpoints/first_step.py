"""Step 0 of adapters made elsewhere: trainers do not save it, and it is not always the base.

LoRA starts without effect for the usual initialisations, so that the base model is step 0.
Some initialisations change the base weights instead; such a series cannot be put onto the
base that its config names.
"""

from critical_phase.checkpoints.lora_options import NEUTRAL_STARTS
from critical_phase.checkpoints.series import Checkpoint, adapter_config
from critical_phase.errors import CheckpointError

_NEUTRAL = (True, None, *NEUTRAL_STARTS)
# These write into the base weights when training starts.
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


def first_step(first: Checkpoint) -> tuple[Checkpoint | None, str]:
    """Return the base standing for step 0 of a series, if it may, and a sentence about it.

    Args:
        first: The earliest saved checkpoint.

    Raises:
        CheckpointError: The adapters start by changing the base weights.
    """
    if first.kind == "adapter":
        refuse_changed_base(first)
    if first.step == 0:
        return None, ""
    if first.kind != "adapter":
        return None, f"step 0 was not saved: the series starts at step {first.step}"
    config = adapter_config(first.path)
    start = config.get("init_lora_weights", True)
    if config.get("peft_type") == "LORA" and start in _NEUTRAL and not config.get("lora_bias"):
        return Checkpoint(0, first.path, "", "base"), (
            "step 0 was not saved: the base model stands for it, which is right where the "
            f"adapter was new when training began (init_lora_weights={start!r})"
        )
    return None, (
        f"step 0 is missing: it was not saved, and adapters of this kind (peft_type="
        f"{config.get('peft_type')!r}, init_lora_weights={start!r}) may not start without effect"
    )


def refuse_changed_base(checkpoint: Checkpoint) -> None:
    """Refuse adapters that do not stand on the base as it is published, everywhere alike.

    Raises:
        CheckpointError: PiSSA, OLoRA, CorDA, LoftQ or LoRA-GA, not converted to plain LoRA;
            layers used twice; or an adapter that acts at some positions only.
    """
    config = adapter_config(checkpoint.path)
    start = config.get("init_lora_weights", True)
    if config.get("layer_replication"):
        raise CheckpointError(
            "layer_replication changes the base: its layers are not those of the base model",
            where=str(checkpoint.path),
            fix="merge the adapters and collect them as full weights",
        )
    if config.get("alora_invocation_tokens"):
        raise CheckpointError(
            "these adapters act behind their invocation tokens alone (aLoRA); here every "
            "position would be changed",
            where=str(checkpoint.path),
            fix="use plain LoRA: aLoRA is not supported",
        )
    if isinstance(start, str) and start.lower().startswith(_CHANGES_BASE):
        raise CheckpointError(
            f"init_lora_weights={start!r} changes the base weights when training starts, so "
            "these adapters do not belong to the base model that is on the hub",
            where=str(checkpoint.path),
            fix="save them with save_pretrained(..., path_initial_model_for_weight_conversion="
            "FOLDER), which turns them into plain LoRA",
        )
