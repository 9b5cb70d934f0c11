"""A checkpoint of full weights, for what is made for adapters alone."""

from pathlib import Path
from typing import Any

from critical_phase.checkpoints import hash_checkpoint
from critical_phase.checkpoints.folders import SavedStep
from critical_phase.probes import Unit


def full_unit(folder: Path, model: Any) -> Unit:
    """Save a whole model as step 1 of the negative head."""
    model.save_pretrained(folder / "checkpoint-1")
    saved = SavedStep(1, "full", folder / "checkpoint-1")
    return Unit("negative", 1, hash_checkpoint(saved))
