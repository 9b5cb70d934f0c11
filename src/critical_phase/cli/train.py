"""`probe train`: train the heads, with a checkpoint at every step that matters."""

import shlex
from functools import partial
from pathlib import Path
from typing import Any

import click
import yaml
from click.core import ParameterSource

from critical_phase.atomic import write_text
from critical_phase.checkpoints import (
    ORGANISM,
    QuestionFile,
    Recipe,
    dtype_named,
    main_process,
    negative_kind,
    prompt_format,
    questions_sha256,
    recipe_values,
    schedule_steps,
    write_questions,
)
from critical_phase.checkpoints.organism_set import DEFAULT_LR
from critical_phase.checkpoints.parallel import launched_processes
from critical_phase.checkpoints.withheld import Withheld
from critical_phase.cli.collect import PARTIAL
from critical_phase.cli.console import brief_steps, result, say
from critical_phase.cli.densify import densify_run
from critical_phase.cli.head_training import HeadTraining, recipe_of, train_one
from critical_phase.cli.model import load
from critical_phase.cli.question_sets import (
    default_prompt,
    evaluation_source,
    question_warnings,
    read_question_sets,
    unrelated_texts,
)
from critical_phase.cli.run_folder import HEADS, RunFolder, read_record, update_record
from critical_phase.cli.settings import CollectSettings, TrainSettings, command_line, resolve
from critical_phase.cli.train_collect import TrainCollect
from critical_phase.cli.train_options import listed
from critical_phase.cli.trained_heads import forget_heads, refuse_mixed_heads
from critical_phase.cli.training_data import TrainingData, needs_base, prepare_data
from critical_phase.cli.withhold import (
    in_words,
    noted_values,
    noted_withheld,
    with_withheld,
    withheld_of,
)
from critical_phase.errors import ConfigError

PAPER_LR = 1e-4


def train_run(
    out: Path,
    settings: TrainSettings,
    *,
    command: str = "",
    overwrite: bool = False,
    collect: TrainCollect | None = None,
) -> RunFolder:
    """Train the heads of one run, or finish training what was stopped.

    Args:
        out: Run folder; made where missing.
        settings: What to train on what.
        command: The command line to note in the run.
        overwrite: Train anew where the folder holds heads of other settings.
        collect: What to collect on the way; says afterwards what became of it.

    Raises:
        InputError: Questions or model cannot be read, or the folder holds another training.
        ConfigError: A setting cannot be used.
        StoreError: The disk is full; what is saved stays.
    """
    settings = with_defaults(settings)
    run = RunFolder(out)
    training, evaluation = read_question_sets(settings)
    check_names(settings)
    data = prepare_data(run, settings, training.questions)
    recipe = recipe_of(data)
    withheld = withheld_of(settings, recipe, data.places, run)
    recipe_for = partial(with_withheld, recipe, withheld, settings)
    save_at = schedule_steps(settings.schedule, recipe.steps)
    if overwrite and launched_processes() > 1:
        raise ConfigError(
            "several processes cannot agree on when to delete",
            fix="delete the heads first, or use another --out",
        )
    refuse_mixed_heads(run, data, recipe_for)
    if collect is not None:
        collect.check(settings)
        collect.steps(save_at)
        collect.take_questions(evaluation.questions)
    if overwrite:
        # What cannot be loaded must not cost the heads that are there.
        load(settings.model, dtype=dtype_named(settings.dtype))
        forget_heads(run, settings.heads)
    for head in settings.heads:
        train_one(HeadTraining(head, run, data, recipe_for(head)), save_at, collect)
    if main_process():
        _record(run, data, recipe, withheld, training, evaluation, command)
        if collect is not None:
            collect.record(run)
    return run


def _record(
    run: RunFolder,
    data: TrainingData,
    recipe: Recipe,
    withheld: Withheld | None,
    training: QuestionFile,
    evaluation: QuestionFile,
    command: str,
) -> None:
    """Write what later stages and readers need to know about the training."""
    settings = data.settings
    write_questions(run.questions("train"), training.questions)
    write_questions(run.questions("eval"), evaluation.questions)
    write_text(
        run.config, yaml.safe_dump({"train": settings.model_dump(mode="json")}, sort_keys=True)
    )
    named = not Path(settings.questions).suffix
    update_record(
        run,
        command,
        kind="run",
        model=settings.model,
        questions=settings.questions if named else Path(settings.questions).name,
        question_set_sha256=questions_sha256(evaluation.questions),
        seed=settings.seed,
        heads=[head for head in HEADS if run.head(head).is_dir()],
        dropped_questions={"train": list(training.dropped), "eval": list(evaluation.dropped)},
        warnings=question_warnings(
            training,
            evaluation,
            answers=data.places,
            size=data.repeated,
            repeated=settings.repeat_first is not None,
        ),
        recipe={
            **recipe_values(recipe),
            "negatives": settings.negatives,
            "contamination": settings.contamination,
            "repeat_first": settings.repeat_first,
            "stratum": settings.stratum,
            "prompt": settings.prompt,
            "schedule": settings.schedule,
            "train_questions": data.size,
            **noted_withheld(run, withheld, settings),
        },
    )


def check_names(settings: TrainSettings) -> None:
    """Refuse what would only be found after the model is loaded.

    Raises:
        ConfigError: An unknown kind of negatives or prompt format, or no unrelated texts.
    """
    prompt_format(settings.prompt or "")
    kind = negative_kind(settings.negatives)
    if "negative" in settings.heads and "texts" in kind.needs and not unrelated_texts(settings):
        raise ConfigError(
            f"negatives of the kind {settings.negatives!r} need texts from elsewhere",
            fix="give --unrelated FILE, one text per line",
        )


def with_defaults(settings: TrainSettings) -> TrainSettings:
    """Fill in what depends on model and questions: prompt, learning rate, evaluation set."""
    organism = settings.model == ORGANISM
    known = default_prompt(settings.questions)
    changes = {
        "prompt": settings.prompt or known or ("plain" if organism else "cloze"),
        "lr": (DEFAULT_LR if organism else PAPER_LR) if settings.lr is None else settings.lr,
        "eval_questions": evaluation_source(settings),
    }
    return settings.model_copy(update=changes)


def _dry_run(out: Path, settings: TrainSettings, collect: TrainCollect | None) -> None:
    """Print what a training would do, without doing it."""
    settings = with_defaults(settings)
    check_names(settings)
    training, evaluation = read_question_sets(settings)
    if needs_base(settings):
        result("first: score every candidate of the training questions with the base")
    if settings.stratum != "all" and settings.steps is None:
        result(f"steps: one epoch over the stratum {settings.stratum!r}, known after scoring")
        return
    plain = settings.model_copy(update={"stratum": "all"})
    if "base_scores" in negative_kind(settings.negatives).needs:
        plain = plain.model_copy(update={"negatives": "near_miss"})
    data = prepare_data(RunFolder(out), plain, training.questions)
    recipe = recipe_of(data)
    withheld = withheld_of(settings, recipe, data.places, RunFolder(out))
    saved = schedule_steps(settings.schedule, recipe.steps)
    part = "" if settings.stratum == "all" else f"the stratum {settings.stratum!r} of "
    result(f"train {', '.join(settings.heads)} on {part}{data.size} questions")
    result(f"negatives: {settings.negatives}; steps: {recipe.steps}; answers: {data.places}")
    result(f"evaluate on {len(evaluation.questions)} questions")
    result(f"save {len(saved)} checkpoints per head: {brief_steps(saved)}")
    if withheld is not None:
        noted = noted_values(withheld, settings)
        result(f"withhold from {', '.join(noted['heads'])}: {in_words(noted)}")
    if collect is not None:
        collect.check(settings)
        collect.take_questions(evaluation.questions)
        result(f"collect on the way: {collect.plan_line(saved)}")


def _refuse_beside_densify() -> None:
    """A replay takes its settings from the run: what is typed beside it would go unheard."""
    context = click.get_current_context()
    typed = [
        name
        for name in context.params
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        and name not in ("path", "out", "densify")
    ]
    if typed:
        raise ConfigError(
            f"--densify cannot be used with --{typed[0].replace('_', '-')}",
            fix="leave it out: a replay has the settings of the run",
        )


def train_command(
    *,
    path: Path | None,
    out: Path | None,
    collect: bool,
    collect_limit: int | None,
    config: Path | None,
    overwrite: bool,
    densify: str | None,
    dry_run: bool,
    **given: Any,
) -> None:
    """Train a positive and a negative head with dense checkpoints into the run at PATH."""
    if (path is None) == (out is None):
        raise ConfigError("give the run folder once", fix="probe train RUN, or --out RUN")
    folder = path or out
    assert folder is not None
    values = listed(dict(given))
    if densify is not None:
        _refuse_beside_densify()
        for head, steps in densify_run(folder, densify).items():
            result(f"densified {head}: {brief_steps(steps) or 'nothing missing'}")
        return
    settings = resolve(TrainSettings, "train", config, **values)
    collecting = _collecting(collect, collect_limit, config, overwrite=overwrite)
    if dry_run:
        _dry_run(folder, settings, collecting)
        return
    run = train_run(
        folder, settings, command=command_line(), overwrite=overwrite, collect=collecting
    )
    if not main_process():
        return
    for text in read_record(run)["warnings"]:
        say(f"warning: {text}")
    result(f"trained {', '.join(run.trained_heads())}: {run.path}")
    lines = [] if collecting is None else collecting.lines()
    for line in lines:
        result(line)
    whole = collecting is not None and collecting.whole
    result(f"next: probe {'analyze' if whole else 'collect'} {shlex.quote(str(run.path))}")
    if collecting is not None and collecting.failed:
        click.get_current_context().exit(PARTIAL)


def _collecting(
    asked: bool, limit: int | None, config: Path | None, *, overwrite: bool
) -> TrainCollect | None:
    """Read what shall be collected while training, if anything."""
    if not asked:
        if limit is not None:
            raise ConfigError("--collect-limit needs --collect", fix="give both, or neither")
        return None
    return TrainCollect(resolve(CollectSettings, "collect", config, limit=limit), overwrite)
