"""Make a run folder around checkpoints that were made elsewhere: `probe collect --series`."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from critical_phase.checkpoints import (
    ORGANISM,
    CheckpointSource,
    Question,
    adapter_config,
    open_source,
    prompt_format,
    questions_sha256,
    write_questions,
)
from critical_phase.checkpoints.fits import check_fit
from critical_phase.checkpoints.hub_files import split_revision
from critical_phase.checkpoints.organism import organism_path
from critical_phase.checkpoints.trainer_notes import noted_batch_size
from critical_phase.cli.console import brief_steps, say
from critical_phase.cli.question_sets import default_prompt, read_evaluation
from critical_phase.cli.run_folder import HEADS, RunFolder, read_record, update_record
from critical_phase.cli.series_files import head_entry, write_elsewhere
from critical_phase.differences import apart
from critical_phase.errors import CheckpointError, ConfigError

MADE = ("scores", "activations", "contexts", "effects", "analysis", "report", "failed")


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What `probe collect --series` is given."""

    series: tuple[str, ...]
    """`head=location`, or a location alone: its head is the folder's name where that is one."""
    questions: str | None
    """File or named set to evaluate on."""
    model: str | None = None
    """The base; None takes what the series itself names."""
    prompt: str | None = None
    batch_size: int | None = None
    """Answers per optimizer step; None takes what the trainer noted."""
    adapter_name: str | None = None
    equal_candidates: Literal["refuse", "drop"] = "refuse"


@dataclass(frozen=True, slots=True)
class SeriesPlan:
    """A run that could be made: everything is read and checked, nothing is written."""

    sources: Mapping[str, CheckpointSource]
    entries: Mapping[str, Mapping[str, Any]]
    """Content of series.json, by head."""
    questions: tuple[Question, ...]
    record: Mapping[str, Any]
    """Entries of run.json."""
    warnings: tuple[str, ...]


def plan_series_run(asked: Elsewhere) -> SeriesPlan:
    """Read series, base and questions and check that they fit each other.

    Raises:
        ConfigError: A head, prompt or batch size that cannot be used, or something missing.
        InputError: Series, base or questions cannot be read or do not fit each other.
    """
    if asked.questions is None:
        raise ConfigError("no questions to collect on", fix="give --questions FILE")
    sources = {
        head: open_source(location, adapter_name=asked.adapter_name)
        for head, location in heads_of(asked.series).items()
    }
    model = _base_of(sources, asked.model)
    questions = read_evaluation(asked.questions, asked.equal_candidates)
    prompt = asked.prompt or default_prompt(asked.questions)
    prompt = prompt or ("plain" if model == ORGANISM else "cloze")
    prompt_format(prompt)
    _check_fits(sources, model)
    batch_size, warnings = _batch_size(sources, asked.batch_size)
    warnings += _foreign_names(sources, model)
    warnings += list(questions.notes)
    if questions.dropped:
        warnings.append(
            f"{len(questions.dropped)} evaluation questions with equal candidates were left out"
        )
    entries = {head: head_entry(source, asked.adapter_name) for head, source in sources.items()}
    kept = ("location", "kind", "adapter_name")
    record = {
        "kind": "run",
        "model": model,
        "questions": Path(asked.questions).name,
        "question_set_sha256": questions_sha256(questions.questions),
        "heads": list(sources),
        "series": {head: {key: entry[key] for key in kept} for head, entry in entries.items()},
        "dropped_questions": {"train": [], "eval": list(questions.dropped)},
        "recipe": {"batch_size": batch_size, "prompt": prompt, **_recipe(sources)},
    }
    return SeriesPlan(sources, entries, questions.questions, record, tuple(warnings))


def make_series_run(
    out: Path, plan: SeriesPlan, *, command: str = "", overwrite: bool = False
) -> RunFolder:
    """Write the run folder; one of the same series is kept as it is.

    Args:
        out: Run folder.
        plan: From `plan_series_run`.
        command: The command line to note in the run.
        overwrite: Replace a run of another series, with what was collected there.

    Raises:
        CheckpointError: The folder holds a run of another series, or heads trained here.
    """
    run = RunFolder(out)
    for text in plan.warnings:
        say(f"warning: {text}")
    if not _is_made(run, plan.record, overwrite):
        write_questions(run.questions("eval"), plan.questions)
        write_elsewhere(run, plan.entries)
        update_record(run, command, **plan.record, warnings=list(plan.warnings))
    return run


def plan_series_lines(plan: SeriesPlan, contexts: Sequence[str] = ()) -> list[str]:
    """Describe a run that would be made, without making it."""
    lines = [
        f"{head}: {len(source.steps)} checkpoints: {brief_steps(source.steps)} ({source.location})"
        for head, source in plan.sources.items()
    ]
    warned = [*plan.warnings, *(w for source in plan.sources.values() for w in source.warnings)]
    lines.append(f"base model: {plan.record['model']}")
    lines.append(
        f"questions: {len(plan.questions)}, batch size {plan.record['recipe']['batch_size']}"
    )
    lines += [f"context {name}: at every checkpoint" for name in contexts]
    return lines + [f"warning: {text}" for text in warned]


def heads_of(series: tuple[str, ...]) -> dict[str, str]:
    """Read `head=location`; a location alone is the head of its name, else `positive`.

    Raises:
        ConfigError: No such head, or one head twice.
    """
    found: dict[str, str] = {}
    for text in series:
        head, mark, location = text.partition("=")
        if not mark or (head not in HEADS and Path(text).expanduser().exists()):
            named = Path(text).name in HEADS
            head, location = Path(text).name if named else HEADS[0], text
            other = next(one for one in HEADS if one != head)
            say(f"{text} is taken as the head '{head}'; --series {other}=... names another")
        if head not in HEADS:
            raise ConfigError(f"no head {head!r}", fix=f"heads are {' and '.join(HEADS)}")
        if head in found:
            raise ConfigError(f"two series for the head {head!r}", fix="give each head one series")
        found[head] = location
    return found


def _base_of(sources: Mapping[str, CheckpointSource], asked: str | None) -> str:
    """Settle the base model: as asked, or as the series themselves say."""
    if asked is not None:
        return asked
    named = {head: source.base_model for head, source in sources.items()}
    names = sorted({name for name in named.values() if name})
    if len(names) != 1 or not all(named.values()):
        raise ConfigError(
            f"the series name {'several bases: ' + ', '.join(names) if names else 'no base'}",
            fix="give --model the model that the series was trained from",
        )
    hub = split_revision(names[0]) is not None
    say(f"base model: {names[0]} ({'the earliest revision' if hub else 'named by the series'})")
    return names[0]


def _check_fits(sources: Mapping[str, CheckpointSource], model: str) -> None:
    kinds = {source.kind for source in sources.values()}
    if len(kinds) > 1:
        raise CheckpointError(
            "one head is a series of adapters and the other of full weights",
            fix="collect them into two runs",
        )
    for source in sources.values():
        if split_revision(source.location) is None:
            check_fit(model, source.checkpoint(source.steps[-1]))


def _foreign_names(sources: Mapping[str, CheckpointSource], model: str) -> list[str]:
    """Say where adapters name another base than the one that is used."""
    return [
        f"{head}: the adapters name the base {source.base_model!r}, but {model!r} is used; "
        "shapes fit, which does not prove that it is the same model"
        for head, source in sources.items()
        if source.kind == "adapter"
        and source.base_model
        and not _same_model(source.base_model, model)
    ]


def _same_model(one: str, other: str) -> bool:
    if one == other:
        return True
    first, second = (
        (organism_path() if name == ORGANISM else Path(name)).expanduser().resolve()
        for name in (one, other)
    )
    return first == second


def _batch_size(
    sources: Mapping[str, CheckpointSource], asked: int | None
) -> tuple[int, list[str]]:
    """Settle how many answers one step stands for; steps and examples share one axis."""
    if asked is not None:
        return asked, []
    found: dict[str, int] = {}
    warnings: list[str] = []
    for head, source in sources.items():
        folder = Path(source.location)
        size, about = noted_batch_size(folder) if folder.is_dir() else (None, "")
        warnings += [f"{head}: {about}"] if about else []
        if size is not None:
            found[head] = size
    if len(set(found.values())) > 1:
        raise ConfigError(
            f"the heads were trained with different batch sizes: {found}",
            fix="give --batch-size, or collect them into two runs",
        )
    if not found:
        warnings.append(
            "the batch size is not noted anywhere: one example per step is counted; "
            "--batch-size says it"
        )
    return next(iter(found.values()), 1), warnings


def _recipe(sources: Mapping[str, CheckpointSource]) -> dict[str, Any]:
    """Note what the series themselves say about their training."""
    known: dict[str, Any] = {"steps": max(source.steps[-1] for source in sources.values())}
    first = next(iter(sources.values()))
    if first.kind == "adapter":
        config = adapter_config(first.checkpoint(first.steps[-1]).path)
        targets = config.get("target_modules")
        known |= {"rank": config.get("r"), "alpha": config.get("lora_alpha")}
        known["targets"] = sorted(targets) if isinstance(targets, list) else targets
    return {**known, "dtype": "float32"}


def _is_made(run: RunFolder, values: Mapping[str, Any], overwrite: bool) -> bool:
    """Tell whether the run is there already, made from the same things.

    Raises:
        CheckpointError: It was made from others, and is not to be overwritten.
    """
    if not run.record.is_file():
        return False
    record = read_record(run)
    wanted = json.loads(json.dumps(dict(values)))
    free = ("steps",)  # training may still go on
    differing = sorted(
        k for k in wanted if _without(record.get(k), free) != _without(wanted[k], free)
    )
    if not differing:
        return True
    if not overwrite:
        key = differing[0]
        there, asked = apart(_without(record.get(key), free), _without(wanted[key], free))
        raise CheckpointError(
            f"this run was made from another {key}: asked for {asked}, found {there}",
            where=str(run.path),
            fix="use another --out, or pass --overwrite to make it anew",
        )
    if run.trained_heads():
        raise CheckpointError(
            "this run holds heads that were trained here",
            where=str(run.path / "heads"),
            fix="use another --out",
        )
    for name in MADE:
        shutil.rmtree(run.path / name, ignore_errors=True)
    for path in (run.plan, run.tokens, run.path / "manifest.jsonl", run.record):
        path.unlink(missing_ok=True)
    return False


def _without(value: Any, keys: tuple[str, ...]) -> Any:
    return {k: v for k, v in value.items() if k not in keys} if isinstance(value, dict) else value
