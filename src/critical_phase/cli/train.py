"""`probe train`: train the heads, with a checkpoint at every step that matters."""

import shutil
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import yaml

from critical_phase.atomic import write_text
from critical_phase.checkpoints import (
    ORGANISM,
    Question,
    Recipe,
    TrainingFolder,
    adapter_identity,
    choose_device,
    data_order,
    draw_examples,
    encode_examples,
    examples_csv,
    list_series,
    load_model,
    model_sha256,
    negative_kind,
    prompt_format,
    questions_sha256,
    recipe_values,
    right_answer,
    schedule_steps,
    train_head,
    write_questions,
)
from critical_phase.checkpoints.negatives import unrelated
from critical_phase.checkpoints.organism_set import (
    DEFAULT_LR,
)
from critical_phase.cli.console import bar, brief_steps, result, say
from critical_phase.cli.question_sets import (
    question_warnings,
    read_question_sets,
    unrelated_texts,
)
from critical_phase.cli.run_folder import HEADS, RunFolder, update_record
from critical_phase.cli.settings import TrainSettings, command_line, resolve
from critical_phase.errors import CheckpointError, ConfigError

PAPER_LR = 1e-4
Progress = Callable[[str, int, int], None]


def train_run(
    out: Path, settings: TrainSettings, *, command: str = "", overwrite: bool = False
) -> RunFolder:
    """Train the heads of one run, or finish training what was stopped.

    Args:
        out: Run folder; made where missing.
        settings: What to train on what.
        command: The command line to note in the run.
        overwrite: Train anew where the folder holds heads of other settings.

    Raises:
        InputError: Questions or model cannot be read, or the folder holds another training.
        ConfigError: A setting cannot be used.
        StoreError: The disk is full; what is saved stays.
    """
    settings = with_defaults(settings)
    run = RunFolder(out)
    training, evaluation = read_question_sets(settings)
    recipe = recipe_of(settings)
    check_names(settings)
    if overwrite:
        forget_heads(run, settings.heads)
    refuse_mixed_heads(run, settings, recipe)
    save_at = schedule_steps(settings.schedule, settings.steps)
    for head in settings.heads:
        _train_one(run, head, settings, training.questions, recipe, save_at)
    write_questions(run.questions("train"), training.questions)
    write_questions(run.questions("eval"), evaluation.questions)
    write_text(
        run.config, yaml.safe_dump({"train": settings.model_dump(mode="json")}, sort_keys=True)
    )
    dropped = {"train": list(training.dropped), "eval": list(evaluation.dropped)}
    update_record(
        run,
        command,
        kind="run",
        model=settings.model,
        questions=settings.questions
        if settings.questions == ORGANISM
        else Path(settings.questions).name,
        question_set_sha256=questions_sha256(evaluation.questions),
        seed=settings.seed,
        heads=[head for head in HEADS if run.head(head).is_dir()],
        dropped_questions=dropped,
        warnings=question_warnings(training, evaluation, recipe.steps * recipe.batch_size),
        recipe={
            **recipe_values(recipe),
            "negatives": settings.negatives,
            "prompt": settings.prompt,
            "schedule": settings.schedule,
            "train_questions": len(training.questions),
        },
    )
    return run


def check_names(settings: TrainSettings) -> None:
    """Refuse what would only be found after the first head is trained.

    Raises:
        ConfigError: An unknown kind of negatives or prompt format, or no unrelated texts.
    """
    prompt_format(settings.prompt or "")
    kind = negative_kind(settings.negatives)
    if "negative" in settings.heads and kind is unrelated and not unrelated_texts(settings):
        raise ConfigError(
            "negatives of the kind 'unrelated' need texts from elsewhere",
            fix="give --unrelated FILE, one text per line",
        )


def forget_heads(run: RunFolder, heads: tuple[str, ...]) -> None:
    """Delete heads with everything that was made from them."""
    for head in heads:
        for kind in ("heads", "scores", "activations"):
            shutil.rmtree(run.path / kind / head, ignore_errors=True)
    shutil.rmtree(run.analysis, ignore_errors=True)


def refuse_mixed_heads(run: RunFolder, settings: TrainSettings, recipe: Recipe) -> None:
    """Refuse to put a head beside one of another recipe: their steps would not match.

    Raises:
        CheckpointError: The other head of the run was trained otherwise.
    """
    wanted = {"recipe": recipe_values(recipe), "prompt": settings.prompt, "seed": settings.seed}
    for other in run.trained_heads():
        if other in settings.heads:
            continue
        note = adapter_identity(list_series(run.head(other)).checkpoints[0].path) or {}
        for key, value in wanted.items():
            if note.get(key) != value:
                raise CheckpointError(
                    f"the {other} head of this run was trained with another {key}: "
                    f"{note.get(key)!r}, not {value!r}",
                    where=str(run.head(other)),
                    fix="train both heads again with --overwrite, or use another --out",
                )


def with_defaults(settings: TrainSettings) -> TrainSettings:
    """Fill in what depends on the model: prompt format, learning rate, evaluation questions."""
    organism = settings.model == ORGANISM
    changes = {
        "prompt": settings.prompt or ("plain" if organism else "cloze"),
        "lr": settings.lr or (DEFAULT_LR if organism else PAPER_LR),
        "eval_questions": settings.eval_questions or settings.questions,
    }
    if settings.questions != ORGANISM and settings.eval_questions is None:
        raise ConfigError(
            "no questions to evaluate on",
            fix="give --eval-questions FILE; questions of the training set would not be held out",
        )
    return settings.model_copy(update=changes)


def recipe_of(settings: TrainSettings) -> Recipe:
    """Take the training recipe out of the settings."""
    if settings.lr is None:
        raise ConfigError("the learning rate is not resolved")
    return Recipe(
        steps=settings.steps,
        batch_size=settings.batch_size,
        lr=settings.lr,
        rank=settings.rank,
        alpha=settings.alpha,
        targets=tuple(settings.targets),
    )


def _train_one(
    run: RunFolder,
    head: str,
    settings: TrainSettings,
    questions: tuple[Question, ...],
    recipe: Recipe,
    save_at: tuple[int, ...],
) -> None:
    """Train one head on a base that is loaded afresh."""
    number = HEADS.index(head)
    # Streams: the order of questions is shared by the heads, choices and starts are not.
    order_rng = np.random.default_rng([settings.seed, 0])
    choice_rng = np.random.default_rng([settings.seed, 1, number])
    start = int(np.random.default_rng([settings.seed, 2, number]).integers(2**31))
    order = data_order(len(questions), recipe.steps * recipe.batch_size, order_rng)
    choice = right_answer if head == "positive" else negative_kind(settings.negatives)
    drawn = draw_examples(questions, order, choice, unrelated_texts(settings), choice_rng)
    model, tokenizer = load_model(settings.model, device=choose_device(settings.device))
    examples = encode_examples(tokenizer, prompt_format(settings.prompt or ""), drawn)
    identity = {
        "base_model": settings.model,
        "base_sha256": model_sha256(model),
        "head": head,
        "negatives": settings.negatives if head == "negative" else None,
        "prompt": settings.prompt,
        "question_set_sha256": questions_sha256(questions),
        "recipe": recipe_values(recipe),
        "save_at": list(save_at),
        "seed": settings.seed,
    }
    folder = TrainingFolder(run.head(head), identity)
    if folder.finished:
        say(f"train {head}: finished before")
        return
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    with bar(f"train {head}", recipe.steps) as progress:
        train_head(
            model, examples, recipe, save_at, folder, seed=start, pad_id=pad, progress=progress
        )
    write_text(run.head(head) / "examples.csv", examples_csv(examples, recipe.batch_size))


@click.command("train")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Run folder.")
@click.option("--model", help="Folder, hub name, or 'organism' (default).")
@click.option("--questions", help="JSON-lines file to train on, or 'organism'.")
@click.option("--eval-questions", help="JSON-lines file to evaluate on.")
@click.option("--heads", help="Heads to train, comma-separated (positive,negative).")
@click.option("--negatives", help="near_miss (default), irrelevant or unrelated.")
@click.option("--unrelated", help="File of texts for the unrelated kind, one per line.")
@click.option(
    "--equal-candidates",
    type=click.Choice(["refuse", "drop"]),
    help="Questions that list one text twice.",
)
@click.option("--prompt", help="cloze (default) or plain.")
@click.option("--steps", type=int, help="Optimizer steps (64).")
@click.option("--batch-size", type=int, help="Answers per step (8).")
@click.option("--lr", type=float, help="Constant learning rate.")
@click.option("--rank", type=int, help="LoRA rank (8).")
@click.option("--alpha", type=int, help="LoRA alpha (8).")
@click.option("--targets", help="Adapted linear layers, comma-separated.")
@click.option("--schedule", help="Steps to save: every:1 (default), log, log:32, 8:32, ...")
@click.option("--device", help="auto (default), cpu, cuda, cuda:1, ...")
@click.option("--seed", type=int, help="Seed of order, choices and start (0).")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file with a section 'train'.")
@click.option("--overwrite", is_flag=True, help="Train anew where other settings were used.")
@click.option("--dry-run", is_flag=True, help="Print the plan and touch nothing.")
def command(
    *, out: Path, config: Path | None, overwrite: bool, dry_run: bool, **given: object
) -> None:
    """Train a positive and a negative head with dense checkpoints."""
    values: dict[str, object] = dict(given)
    for key in ("heads", "targets"):
        if isinstance(values[key], str):
            values[key] = tuple(
                part.strip() for part in str(values[key]).split(",") if part.strip()
            )
    settings = resolve(TrainSettings, "train", config, **values)
    if dry_run:
        settings = with_defaults(settings)
        recipe_of(settings)
        check_names(settings)
        training, evaluation = read_question_sets(settings)
        saved = schedule_steps(settings.schedule, settings.steps)
        result(f"train {', '.join(settings.heads)} on {len(training.questions)} questions")
        result(f"evaluate on {len(evaluation.questions)} questions")
        result(f"save {len(saved)} checkpoints per head: {brief_steps(saved)}")
        return
    run = train_run(out, settings, command=command_line(), overwrite=overwrite)
    result(f"trained {', '.join(run.trained_heads())}: {run.path}")
