"""`probe collect`: record scores and activations at a range of checkpoints."""

import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from critical_phase.checkpoints import (
    Question,
    choose_device,
    dtype_named,
    load_model,
    model_sha256,
    prompt_format,
    questions_sha256,
    read_questions,
)
from critical_phase.cli.console import bar, result, say
from critical_phase.cli.run_folder import RunFolder, open_run, read_record, update_record
from critical_phase.cli.series_files import choose_series, note_collected
from critical_phase.cli.series_options import series_options, take_series
from critical_phase.cli.series_run import make_series_run, plan_series_lines, plan_series_run
from critical_phase.cli.settings import CollectSettings, command_line, resolve
from critical_phase.cli.token_texts import write_token_texts
from critical_phase.errors import ConfigError
from critical_phase.probes import (
    COLLECTORS,
    CollectReport,
    Unit,
    collect,
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
    ready: Prepared, settings: CollectSettings, command: str, overwrite: bool
) -> CollectReport:
    """Collect what `prepare` made ready; see `collect_run`."""
    for text in ready.warnings:
        say(f"warning: {text}")
    note_collected(ready.run, ready.units)
    if overwrite:
        ready.run.plan.unlink(missing_ok=True)  # written again by the first thing collect does
    with bar("collect", len(ready.units)) as update, stop_on_interrupt() as stop:
        report = collect(
            ready.run.path,
            ready.model,
            ready.plan,
            ready.units,
            settings=ready.settings,
            provenance=_provenance(ready, settings),
            overwrite=overwrite,
            base_sha256=model_sha256(ready.model),
            progress=lambda done: update(done.finished),
            stop=stop,
        )
    write_token_texts(ready.run.tokens, ready.plan, ready.tokenizer)
    note = {
        "evaluated_questions": len(ready.questions),
        "available_questions": ready.available,
        "rows": int(ready.plan.rows),
        "plan_sha256": ready.plan.sha256,
        "warnings": list(ready.warnings),
    }
    if report.layout:
        note |= {
            "layout": report.layout,
            "layout_reason": report.layout_reason,
            "attention_way": report.attention_way,
        }
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
    model, tokenizer = load_model(
        record["model"],
        dtype=dtype_named(record["recipe"].get("dtype", "float32")),
        device=choose_device(settings.device),
    )
    plan = make_plan(questions, tokenizer, prompt_format(record["recipe"]["prompt"]))
    probe_settings = ProbeSettings(
        collectors=tuple(COLLECTORS) if settings.activations else (),
        store_dtype=settings.store_dtype,
        pattern_rows=_pattern_rows(questions, settings),
        batch_tokens=settings.batch_tokens,
    )
    return Prepared(
        run,
        record,
        questions,
        len(everything),
        model,
        plan,
        make_units({head: series.checkpoints for head, series in every.items()}),
        probe_settings,
        tokenizer,
        tuple(f"{head}: {text}" for head, s in every.items() for text in s.warnings),
    )


def sample_questions(
    questions: tuple[Question, ...], limit: int | None, seed: int
) -> tuple[Question, ...]:
    """Draw at most `limit` questions, in file order; None takes all."""
    if limit is None or limit >= len(questions):
        return questions
    if limit < 1:
        raise ConfigError(f"limit is {limit}", fix="give --limit a positive number")
    rng = np.random.default_rng([seed, 3])
    chosen = np.sort(rng.choice(len(questions), size=limit, replace=False))
    return tuple(questions[int(index)] for index in chosen)


def _pattern_rows(questions: tuple[Question, ...], settings: CollectSettings) -> tuple[int, ...]:
    """Keep whole attention patterns for all candidates of the first few questions."""
    if not settings.activations:
        return ()
    return tuple(range(sum(len(q.candidates) for q in questions[: settings.patterns])))


def _provenance(ready: Prepared, settings: CollectSettings) -> dict[str, str | int]:
    return {
        "run_id": ready.record.get("run_id") or ready.record["name"],
        "question_set_sha256": questions_sha256(ready.questions),
        "base_model": ready.record["model"],
        "seed": settings.seed,
    }


@contextlib.contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C finish the unit in hand; the second stops at once."""
    asked: list[bool] = []

    def remember(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(True)
        say("stopping after this unit; press Ctrl-C again to stop now")

    try:
        before = signal.signal(signal.SIGINT, remember)
    except ValueError:  # not the main thread: the caller handles interrupts
        yield lambda: False
        return
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)


@click.command("collect")
@click.argument("path", type=click.Path(path_type=Path), required=False)
@series_options
@click.option("--checkpoints", help="Steps: all (default), 0,64, 8:32, every:16, log, @-5:, ...")
@click.option("--heads", help="Heads, comma-separated (positive,negative).")
@click.option("--scores-only", is_flag=True, help="Score every row, store no activations.")
@click.option("--contexts", help="Score behind other texts too: answer_only,domain,shots-5,...")
@click.option("--limit", type=int, help="Draw this many evaluation questions.")
@click.option("--batch-tokens", type=int, help="Most tokens of one forward pass (4096).")
@click.option("--patterns", type=int, help="Questions whose whole attention is kept (2).")
@click.option(
    "--store-dtype", type=click.Choice(["auto", "float32", "float16", "bfloat16"]), help="Type."
)
@click.option("--device", help="auto (default), cpu, cuda, cuda:1, ...")
@click.option("--seed", type=int, help="Seed of the draw of questions (0).")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file, section 'collect'.")
@click.option("--overwrite", is_flag=True, help="Collect again what other settings collected.")
@click.option("--dry-run", is_flag=True, help="Print units and bytes; touch nothing.")
@click.pass_context
def command(
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
    from critical_phase.cli.contexts import collect_with, context_names, plan_contexts

    names = () if contexts is None else context_names(contexts)
    run, asked, values = take_series(path, given)
    if isinstance(values["heads"], str):
        values["heads"] = tuple(part.strip() for part in values["heads"].split(","))
    values["activations"] = False if scores_only else None
    settings = resolve(CollectSettings, "collect", config, **values)
    series = None if asked is None else plan_series_run(asked)
    if dry_run:
        if series is not None:
            lines: Iterable[str] = plan_series_lines(series, names)
        else:
            ready = prepare(run, settings, fetch=False)
            lines = plan_lines(ready, plan_contexts(ready, names, settings.seed))
        for line in lines:
            result(line)
        return
    if series is not None:
        make_series_run(run, series, command=command_line(), overwrite=overwrite)
    report, behind = collect_with(run, names, settings, command_line(), overwrite)
    result(
        f"collected {len(report.done)}, existing {len(report.existing)}, "
        f"failed {len(report.failed)}: {run}"
    )
    for name, one in behind.items():
        result(f"context {name}: {one.layout or 'existing'} rows, collected {len(one.done)}")
    failures = [*report.failed, *(failure for one in behind.values() for failure in one.failed)]
    for failure in failures:
        result(f"failed {failure.unit.name}: {failure.message} ({failure.path})")
    if failures:
        ctx.exit(PARTIAL)
