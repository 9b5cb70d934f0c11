"""A negative head trained on near misses in a sibling of the organism.

Shared by the tests and by `docs/scripts/planted_causes.py`.
"""

import copy
from pathlib import Path
from typing import Any

import numpy as np
from planted_stage import questions_of

from critical_phase.checkpoints import (
    PROMPTS,
    Checkpoint,
    Pool,
    Recipe,
    TrainingFolder,
    data_order,
    draw_examples,
    encode_examples,
    list_series,
    negative_kind,
    recipe_values,
    train_head,
)
from critical_phase.checkpoints.organism import World
from critical_phase.checkpoints.organism.tokenizer import build_tokenizer

RECIPE = Recipe(steps=48, lr=6e-3)


def train_negative(
    model: Any, world: World, out: Path, *, seed: int, recipe: Recipe = RECIPE
) -> dict[str, Checkpoint]:
    """Train a head on wrong candidates of training questions.

    Returns:
        Its first and its last step by source, such as `negative@48`; the first changes nothing.
    """
    rng = np.random.default_rng([41, seed])
    questions = questions_of(world, "train", 256)
    order = data_order(len(questions), recipe.steps * recipe.batch_size, rng)
    drawn = draw_examples(questions, order, negative_kind("near_miss"), Pool(questions), rng)
    tokenizer = build_tokenizer(world.words, max_length=128)
    identity = {"base_model": "sibling", "recipe": recipe_values(recipe), "seed": seed}
    folder = TrainingFolder(out, identity)
    examples = encode_examples(tokenizer, PROMPTS["plain"], drawn)
    train_head(copy.deepcopy(model), examples, recipe, [recipe.steps], folder, seed=seed, pad_id=0)
    return {f"negative@{one.step}": one for one in list_series(out).checkpoints}
