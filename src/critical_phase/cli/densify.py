"""Save more steps of a run that is already trained, by replaying from the nearest state."""

from pathlib import Path

import yaml

from critical_phase.checkpoints import (
    TrainingFolder,
    choose_device,
    dtype_named,
    encode_examples,
    list_series,
    model_sha256,
    process_device,
    prompt_format,
    read_questions,
    select_steps,
)
from critical_phase.checkpoints.densify import densify
from critical_phase.cli.console import bar
from critical_phase.cli.head_training import HeadTraining, recipe_of
from critical_phase.cli.model import load
from critical_phase.cli.run_folder import RunFolder, open_run
from critical_phase.cli.settings import TrainSettings, resolve
from critical_phase.cli.training_data import TrainingData, prepare_data
from critical_phase.cli.withhold import with_withheld, withheld_of
from critical_phase.errors import InputError


def densify_run(path: Path, steps: str) -> dict[str, tuple[int, ...]]:
    """Save every asked step of every head of a run that is not saved yet.

    Args:
        path: Run folder made by `probe train`.
        steps: Steps to have saved, as for `--schedule`.

    Returns:
        The steps that were added, by head.

    Raises:
        InputError: There is no run here, or it was not trained by `probe train`.
        ConfigError: The steps cannot be read, or lie beyond the end of training.
        CheckpointError: A replayed adapter is not the saved one.
    """
    run = open_run(path)
    data = _data(run)
    added = {}
    for name in run.trained_heads():
        plain = recipe_of(data)
        withheld = withheld_of(data.settings, plain, data.places, run)
        recipe = with_withheld(plain, withheld, data.settings, name)
        head = HeadTraining(name, run, data, recipe)
        wanted = select_steps(steps, range(head.recipe.steps + 1))
        saved = list_series(run.head(name)).steps
        added[name] = tuple(step for step in wanted if step not in saved)
        if added[name]:
            _densify_one(head, added[name])
    return added


def _data(run: RunFolder) -> TrainingData:
    """Choose the same answers again, from the run's own copy of its questions."""
    if not run.config.is_file() or not any(run.head(h).is_dir() for h in run.trained_heads()):
        raise InputError(
            "this run was not trained here: there is nothing to replay",
            where=str(run.path),
            fix="save more steps with the trainer that made it",
        )
    values = yaml.safe_load(run.config.read_text(encoding="utf-8"))["train"]
    settings = resolve(TrainSettings, "train", None, **values)
    return prepare_data(run, settings, read_questions(run.questions("train")))


def _densify_one(head: HeadTraining, steps: tuple[int, ...]) -> None:
    settings = head.data.settings
    model, tokenizer = load(
        settings.model,
        dtype=dtype_named(head.recipe.dtype),
        device=process_device(choose_device(settings.device)),
    )
    style = prompt_format(settings.prompt or "")
    examples = encode_examples(tokenizer, style, head.data.drawn(head.name))
    folder = TrainingFolder(head.run.head(head.name), head.identity(model_sha256(model), examples))
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    with bar(f"densify {head.name}", max(steps)) as progress:
        densify(
            model,
            examples,
            head.recipe,
            steps,
            folder,
            seed=head.seed,
            pad_id=pad,
            progress=progress,
        )
