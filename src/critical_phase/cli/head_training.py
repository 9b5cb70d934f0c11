"""Train one head of a run on a base that is loaded afresh."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from critical_phase.atomic import write_text
from critical_phase.checkpoints import (
    Example,
    Recipe,
    TrainingFolder,
    choose_device,
    dtype_named,
    encode_examples,
    examples_csv,
    examples_sha256,
    main_process,
    model_sha256,
    process_device,
    prompt_format,
    questions_sha256,
    recipe_values,
    train_head,
)
from critical_phase.cli.console import bar, say
from critical_phase.cli.model import load
from critical_phase.cli.run_folder import HEADS, RunFolder
from critical_phase.cli.train_collect import TrainCollect, at_steps
from critical_phase.cli.training_data import TrainingData
from critical_phase.errors import ConfigError


@dataclass(frozen=True, slots=True)
class HeadTraining:
    """Everything that fixes one head's adapters."""

    name: str
    run: RunFolder
    data: TrainingData
    recipe: Recipe

    @property
    def seed(self) -> int:
        """Draws the adapter's start: a stream of its own per head."""
        number = HEADS.index(self.name)
        return int(np.random.default_rng([self.data.settings.seed, 2, number]).integers(2**31))

    @property
    def examples_file(self) -> Path:
        """Which answer was seen at which step; the last file of a head to be written."""
        return self.run.head(self.name) / "examples.csv"

    def identity(self, base_sha256: str, examples: Sequence[Example]) -> dict[str, object]:
        """Return what fixes the training, as noted beside every adapter."""
        settings = self.data.settings
        negative = self.name == "negative"
        extra = {
            "contamination": settings.contamination if negative else 0.0,
            "repeat_first": settings.repeat_first,
            "stratum": settings.stratum,
            "train_size": settings.train_size,
        }
        return {
            "base_model": settings.model,
            "base_sha256": base_sha256,
            "examples_sha256": examples_sha256(examples),
            "head": self.name,
            "negatives": settings.negatives if negative else None,
            "prompt": settings.prompt,
            "question_set_sha256": questions_sha256(self.data.questions),
            "recipe": recipe_values(self.recipe),
            "seed": settings.seed,
            **extra,
        }


def train_one(
    head: HeadTraining, save_at: tuple[int, ...], collect: TrainCollect | None = None
) -> None:
    """Train one head, or finish training what was stopped.

    Args:
        head: What fixes its adapters.
        save_at: Steps to save.
        collect: What to collect on the way; the main process alone does.

    Raises:
        CheckpointError: The folder holds a head of another training, or the loss broke.
        ConfigError: An answer does not fit the model.
        StoreError: The disk is full; what is saved stays.
    """
    settings, recipe = head.data.settings, head.recipe
    model, tokenizer = load(
        settings.model,
        dtype=dtype_named(recipe.dtype),
        device=process_device(choose_device(settings.device)),
    )
    style = prompt_format(settings.prompt or "")
    examples = encode_examples(tokenizer, style, head.data.drawn(head.name))
    base_sha256 = model_sha256(model)
    folder = TrainingFolder(head.run.head(head.name), head.identity(base_sha256, examples))
    live = None
    if collect is not None and main_process():
        live = collect.begin(head.run, head.name, settings, model, tokenizer, base_sha256)
    if folder.finished and not folder.missing(save_at):
        say(f"train {head.name}: finished before")
        if collect is not None and live is not None:
            collect.end(live, folder, save_at)
        # A kill right after the last step leaves a finished head without its examples.
        if main_process() and not head.examples_file.is_file():
            _write_examples(head, examples)
        return
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    visit = None
    if collect is not None and live is not None:
        visit = at_steps(live, folder, collect.steps(save_at))
    with bar(f"train {head.name}", recipe.steps) as progress:
        train_head(
            model,
            examples,
            recipe,
            save_at,
            folder,
            seed=head.seed,
            pad_id=pad,
            progress=progress,
            on_step=visit,
        )
    if main_process():
        _write_examples(head, examples)
    if collect is not None and live is not None:
        collect.end(live, folder, save_at)


def _write_examples(head: HeadTraining, examples: list[Example]) -> None:
    text = examples_csv(examples, head.recipe.batch_size, margins=head.data.margins)
    write_text(head.examples_file, text)


def recipe_of(data: TrainingData) -> Recipe:
    """Take the training recipe out of the settings.

    Raises:
        ConfigError: A setting cannot be used.
    """
    settings = data.settings
    if settings.lr is None:
        raise ConfigError("the learning rate is not resolved")
    return Recipe(
        steps=data.steps,
        batch_size=settings.batch_size,
        accumulate=settings.accumulate,
        lr=settings.lr,
        lr_schedule=settings.lr_schedule,
        warmup=settings.warmup,
        weight_decay=settings.weight_decay,
        rank=settings.rank,
        alpha=settings.alpha,
        targets=tuple(settings.targets),
        lora=tuple(sorted(settings.lora.items())),
        dtype=settings.dtype,
    )
