"""The organism: a small language model whose world, and whose truth, we know."""

from pathlib import Path

from critical_phase.checkpoints.organism.pretrain import (
    DEFAULT_ACCESSIBILITY,
    DEFAULT_STEPS,
    build_organism,
)
from critical_phase.checkpoints.organism.settings import WorldSettings, load_settings
from critical_phase.checkpoints.organism.world import (
    Documents,
    QuestionRecord,
    World,
    load_world,
)

__all__ = [
    "DEFAULT_ACCESSIBILITY",
    "DEFAULT_STEPS",
    "Documents",
    "QuestionRecord",
    "World",
    "WorldSettings",
    "build_organism",
    "load_settings",
    "load_world",
    "organism_path",
]


def organism_path() -> Path:
    """Return the folder of the shipped model, tokenizer and world."""
    return Path(__file__).resolve().parent / "assets"
