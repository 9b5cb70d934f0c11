"""`probe collect`: record scores and activations at a range of checkpoints."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from critical_phase.checkpoints import (
    Question,
    choose_device,
    dtype_named,
    prompt_format,
    questions_sha256,
    read_questions,
)
from critical_phase.cli.as_before import as_before
from critical_phase.cli.collector_options import (
    collector_names,
    own_collectors,
    take_collectors,
)
from critical_phase.cli.console import bar, result, say
from critical_phase.cli.engine_options import HERE, EngineChoice, take_engine
from critical_phase.cli.interrupt import stop_on_interrupt
from critical_phase.cli.layout_note import layout_note
from critical_phase.cli.model import load
from critical_phase.cli.question_sets import sample_questions
from critical_phase.cli.run_folder import RunFolder, open_run, read_record, update_record
from critical_phase.cli.series_files import choose_series, note_collected
from critical_phase.cli.series_options import take_series
from critical_phase.cli.series_run import make_series_run, plan_series_run
from critical_phase.cli.settings import CollectSettings, command_line, resolve
from critical_phase.cli.site_options import site_paths
from critical_phase.cli.token_texts import write_token_texts
from critical_phase.errors import ConfigError
from critical_phase.probes import (
    CollectReport,
    Unit,
    make_plan,
    make_units,
)
from critical_phase.probes import CollectSettings as ProbeSettings

PARTIAL = 3


@dataclass(frozen=True, slots=True)
class Prepared:
    """A collection that is ready to run: everything but the forward passes."""

    run: RunFolder
    record: dict[str, Any]
    questions: tuple[Question, ...]
    available: int
    """Questions that could have been evaluated."""
    model: Any
    plan: Any
    units: tuple[Unit, ...]
    settings: ProbeSettings
    tokenizer: Any
    warnings: tuple[str, ...]


def collect_run(
    path: Path, settings: CollectSettings, *, command: str = "", overwrite: bool = False
) -> CollectReport:
    """Collect every chosen checkpoint of a trained run that is not stored yet.

    Args:
        path: Run folder with trained heads.
        settings: Which checkpoints, what to store.
        command: The command line to note in the run.
        overwrite: Collect again what was collected in another way.

    Raises:
        InputError: There is no run, model, checkpoint or question file.
        ConfigError: A step that is not saved, or settings that do not fit the model.
        StoreError: Files of other settings are in the way, or the disk is full.
    """
    return collect_prepared(prepare(path, settings), settings, command, overwrite)


def collect_prepared(
    ready: Prepared,
    settings: CollectSettings,
    command: str,
    overwrite: bool,
    choice: EngineChoice = HERE,
) -> CollectReport:
    """Collect what `prepare` made ready; see `collect_run`."""
    from critical_phase.cli.collect_engine import collect_by, source_of  # loads the engines

    for text in ready.warnings:
        say(f"warning: {text}")
    note_collected(ready.run, ready.units)
    if overwrite:
        ready.run.plan.unlink(missing_ok=True)  # written again by the first thing collect does
    with bar("collect", len(choice.part_of(ready.units))) as update, stop_on_interrupt() as stop:
        report = collect_by(
            choice,
            ready.run.path,
            ready.model,
            ready.plan,
            ready.units,
            source=source_of(ready.record, settings),
            settings=ready.settings,
            provenance=provenance(ready.record, ready.questions, settings),
            overwrite=overwrite,
            progress=lambda done: update(done.finished),
            stop=stop,
        )
    write_token_texts(ready.run.tokens, ready.plan, ready.tokenizer)
    note: dict[str, Any] = plan_note(ready.plan, ready.available, ready.warnings)
    if report.cuts:
        note["cuts"] = report.cuts + ready.record.get("collect", {}).get("cuts", 0)
    note |= layout_note(ready.run.path, report)
    update_record(ready.run, command, collect={**ready.record.get("collect", {}), **note})
    if report.remaining:
        raise KeyboardInterrupt
    return report


def prepare(path: Path, settings: CollectSettings, *, fetch: bool = True) -> Prepared:
    """Read what a collection needs and choose its units.

    Args:
        path: Run folder.
        settings: Which checkpoints of which heads, what to store.
        fetch: False downloads and hashes no full weights, for a dry run.
    """
    run = open_run(path)
    record = read_record(run)
    everything = read_questions(run.questions("eval"))
    questions = sample_questions(everything, settings.limit, settings.seed)
    heads = [head for head in settings.heads if head in run.known_heads()]
    if not heads:
        raise ConfigError(
            f"no trained head among {', '.join(settings.heads)}",
            where=str(path / "heads"),
            fix=f"probe train --out {path}",
        )
    every = {head: choose_series(run, head, settings.checkpoints, fetch=fetch) for head in heads}
    model, tokenizer = load(
        record["model"],
        dtype=dtype_named(record["recipe"].get("dtype", "float32")),
        device=choose_device(settings.device),
    )
    plan = make_plan(questions, tokenizer, prompt_format(record["recipe"]["prompt"]))
    return Prepared(
        run,
        record,
        questions,
        len(everything),
        model,
        plan,
        make_units({head: series.checkpoints for head, series in every.items()}),
        probe_settings(questions, settings),
        tokenizer,
        tuple(f"{head}: {text}" for head, s in every.items() for text in s.warnings),
    )


def probe_settings(questions: tuple[Question, ...], settings: CollectSettings) -> ProbeSettings:
    """Turn the settings of the command into those of the instruments."""
    own = own_collectors(settings)
    return ProbeSettings(
        collectors=collector_names(settings, own),
        positions=settings.positions,
        residual_sites=settings.residual_sites,
        own_collectors=own,
        store_dtype=settings.store_dtype,
        pattern_rows=_pattern_rows(questions, settings),
        batch_tokens=settings.batch_tokens,
        site_paths=site_paths(settings.sites_file, settings.sites),
        backend=settings.backend,
    )


def _pattern_rows(questions: tuple[Question, ...], settings: CollectSettings) -> tuple[int, ...]:
    """Keep whole attention patterns for all candidates of the first few questions."""
    if not settings.activations:
        return ()
    return tuple(range(sum(len(q.candidates) for q in questions[: settings.patterns])))


def plan_note(plan: Any, available: int, warnings: tuple[str, ...] = ()) -> dict[str, Any]:
    """Say in run.json which rows were collected, out of how many questions."""
    return {
        "evaluated_questions": len(plan.question_ids),
        "available_questions": available,
        "rows": int(plan.rows),
        "plan_sha256": plan.sha256,
        "warnings": list(warnings),
    }


def provenance(
    record: Mapping[str, Any], questions: tuple[Question, ...], settings: CollectSettings
) -> dict[str, str | int]:
    """Say where the files of a run come from, the same in every file."""
    return {
        "run_id": record.get("run_id") or record["name"],
        "question_set_sha256": questions_sha256(questions),
        "base_model": record["model"],
        "seed": settings.seed,
    }


def collect_command(
    ctx: click.Context,
    /,
    *,
    path: Path | None,
    config: Path | None,
    scores_only: bool,
    contexts: str | None,
    overwrite: bool,
    dry_run: bool,
    **given: object,
) -> None:
    """Record scores and activations of the run at PATH, or of series made elsewhere."""
    from critical_phase.cli.collect_lines import plan_lines  # these import this module
    from critical_phase.cli.collect_trouble import trouble_lines
    from critical_phase.cli.contexts import FOLDER, collect_with, context_names, plan_contexts
    from critical_phase.cli.series_dry_run import series_lines

    names = () if contexts is None else context_names(contexts)
    choice, given = take_engine(given)
    run, asked, values = take_series(path, given)
    if isinstance(values["heads"], str):
        values["heads"] = tuple(part.strip() for part in values["heads"].split(","))
    values = take_collectors(values, scores_only=scores_only)
    settings = resolve(CollectSettings, "collect", config, **values)
    anew = overwrite and (asked is not None or not names)
    if not anew:
        settings = as_before(run, settings, contexts=bool(names))
    series = None if asked is None else plan_series_run(asked)
    if dry_run:
        if series is not None:
            lines: Iterable[str] = series_lines(run, series, settings, names, choice)
        else:
            ready = prepare(run, choice.planning(settings), fetch=False)
            ready = replace(ready, units=choice.part_of(ready.units))
            beside = plan_contexts(ready, names, settings)
            lines = plan_lines(ready, beside, overwrite=overwrite)
        for line in lines:
            result(line)
        return
    if series is not None:
        make_series_run(run, series, command=command_line(), overwrite=overwrite)
    report, behind = collect_with(run, names, settings, command_line(), overwrite, choice)
    result(
        f"collected {len(report.done)}, existing {len(report.existing)}, "
        f"failed {len(report.failed)}: {run}"
    )
    for name, one in behind.items():
        result(f"context {name}: {one.layout or 'existing'} rows, collected {len(one.done)}")
    failures = [*report.failed, *(failure for one in behind.values() for failure in one.failed)]
    reports = {run: report} | {run / FOLDER / name: one for name, one in behind.items()}
    for folder, one in reports.items():
        for line in trouble_lines(folder, one):
            result(line)
    for failure in failures:
        result(f"failed {failure.unit.name}: {failure.message} ({failure.path})")
    if failures:
        ctx.exit(PARTIAL)
