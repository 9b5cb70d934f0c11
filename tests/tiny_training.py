"""Examples of random words, and a training of them on a tiny model."""

from pathlib import Path

import numpy as np
from tiny_models import WORDS
from transformers import PreTrainedModel

from critical_phase.checkpoints import (
    Example,
    Recipe,
    TrainingFolder,
    list_series,
    load_model,
    recipe_values,
    train_head,
)

RECIPE = Recipe(steps=12, batch_size=2, lr=1e-2, rank=2, alpha=4)


def random_examples(count: int, seed: int = 0) -> list[Example]:
    """Questions of three to eight words with answers of one to four, lengths all mixed."""
    rng = np.random.default_rng(seed)

    def words(low: int, high: int) -> tuple[int, ...]:
        return tuple(rng.integers(2, len(WORDS), rng.integers(low, high)).tolist())

    return [Example(f"q{i}", "some answer", words(3, 9), words(1, 5)) for i in range(count)]


def head_folder(out: Path, recipe: Recipe = RECIPE, **extra: object) -> TrainingFolder:
    return TrainingFolder(out, {"base_model": "tiny", "recipe": recipe_values(recipe), **extra})


def train(
    base: Path | PreTrainedModel,
    out: Path,
    recipe: Recipe = RECIPE,
    *,
    save_at: range | list[int] | None = None,
    examples: list[Example] | None = None,
    **extra: object,
) -> None:
    model = load_model(str(base))[0] if isinstance(base, Path) else base
    given = random_examples(recipe.steps * recipe.batch_size) if examples is None else examples
    asked = range(recipe.steps + 1) if save_at is None else save_at
    folder = head_folder(out, recipe, **extra)
    train_head(model, given, recipe, asked, folder, seed=5, pad_id=1)


def hashes(out: Path) -> dict[int, str]:
    return {item.step: item.sha256 for item in list_series(out).checkpoints}
