"""Score the rows of a run again behind other texts: `probe collect RUN --contexts ...`."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from critical_phase.checkpoints import (
    Question,
    prompt_format,
    questions_sha256,
    read_questions,
)
from critical_phase.cli.collect import Prepared, collect_prepared, prepare
from critical_phase.cli.console import bar
from critical_phase.cli.engine_options import HERE, EngineChoice
from critical_phase.cli.interrupt import stop_on_interrupt
from critical_phase.cli.layout_note import layout_note
from critical_phase.cli.run_folder import RunFolder, read_record, update_record
from critical_phase.cli.settings import CollectSettings
from critical_phase.cli.stored_contexts import SECOND
from critical_phase.errors import ConfigError
from critical_phase.probes import (
    CollectReport,
    Plan,
    check_fits,
    context_kind,
    context_plan,
    demonstrations,
)
from critical_phase.probes import CollectSettings as ProbeSettings
from critical_phase.probes.contexts import AGAIN, adapter_scale, compute_type

FOLDER = "contexts"
AGAIN_SHARE = 3
"""A second scoring has passes of at most this part of the tokens, so that all else differs too."""


def context_names(text: str) -> tuple[str, ...]:
    """Split and check a comma-separated list of contexts, before any model is loaded.

    Raises:
        ConfigError: No such context, or one is listed twice.
    """
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    for name in names:
        context_kind(name)
    if len(set(names)) < len(names) or not names:
        raise ConfigError(
            f"expected different contexts, found {text!r}",
            fix="list each context once, such as answer_only,domain",
        )
    return names


def collect_with(
    path: Path,
    names: Sequence[str],
    settings: CollectSettings,
    command: str = "",
    overwrite: bool = False,
    choice: EngineChoice = HERE,
) -> tuple[CollectReport, dict[str, CollectReport]]:
    """Collect a run, then score its checkpoints in each context that is not stored yet.

    Each context is a small run of its own in `contexts/<name>/` with the plan and the
    scores of the same rows; what fails there is noted there.

    Args:
        path: Run folder with trained heads.
        names: Contexts, as `context_names` returns them.
        settings: Those of the main collection; checkpoints, heads, limit, device and seed
            hold for the contexts too.
        command: The command line to note in the run.
        overwrite: Collect again what was collected in another way.
        choice: Who collects, and which part.

    Raises:
        ConfigError: The questions or the model cannot supply a context; nothing is collected.
        StoreError: Files of other settings are in the way, or the disk is full.
    """
    ready = prepare(path, choice.planning(settings))
    plans = plan_contexts(ready, names, settings)
    main = collect_prepared(ready, settings, command, overwrite, choice)
    reports: dict[str, CollectReport] = {}
    with stop_on_interrupt() as stop:
        for name, plan in plans.items():
            # What came before left its adapters in the model.
            ready = prepare(path, choice.planning(settings))
            reports[name] = collect_plan(name, plan, ready, settings, overwrite, stop, choice)
            _note(ready.run, name, plan, reports[name], settings, command)
            if reports[name].remaining:
                raise KeyboardInterrupt
    return main, reports


def plan_contexts(
    ready: Prepared, names: Sequence[str], settings: CollectSettings
) -> dict[str, Plan]:
    """Make the rows of every context, which takes the tokenizer alone.

    Raises:
        ConfigError: The questions or the model cannot supply one; says which can be had.
    """
    train = _train_questions(ready.run)
    plans: dict[str, Plan] = {}
    refused: list[ConfigError] = []
    for name in names:
        try:
            plans[name] = _plan(name, ready, train, settings.seed)
        except ConfigError as error:
            refused.append(error)
    if refused:
        raise _refusal(refused[0], ready.run, tuple(plans), settings)
    return plans


def _refusal(
    first: ConfigError, run: RunFolder, others: Sequence[str], settings: CollectSettings
) -> ConfigError:
    """Add the command that collects the contexts which can be had."""
    if not others:
        return first
    command = ["probe", "collect", str(run.path), "--contexts", ",".join(others)]
    if settings.checkpoints != "all":
        command += ["--checkpoints", settings.checkpoints]
    if settings.limit is not None:
        command += ["--limit", str(settings.limit)]
    if settings.seed:
        command += ["--seed", str(settings.seed)]
    if not settings.activations:
        command.append("--scores-only")
    fix = f"{first.fix}; for the others: {shlex.join(command)}"
    return ConfigError(str(first.args[0]), where=first.where, fix=fix)


def _train_questions(run: RunFolder) -> tuple[Question, ...]:
    path = run.questions("train")  # a run of series made elsewhere has none
    return read_questions(path) if path.is_file() else ()


def _plan(name: str, ready: Prepared, train: tuple[Question, ...], seed: int) -> Plan:
    _refuse_same_type(name, str(ready.model.dtype).removeprefix("torch."))
    style = prompt_format(ready.record["recipe"]["prompt"])
    plan = context_plan(name, ready.questions, train, ready.tokenizer, style, seed)
    positions = getattr(ready.model.config.get_text_config(), "max_position_embeddings", None)
    try:
        check_fits(plan, positions)
    except ConfigError as error:
        fix = "ask for fewer shots" if context_kind(name) == "shots" else "leave this context out"
        raise ConfigError(f"context {name!r}: {error.args[0]}", fix=fix) from error
    return plan


def _refuse_same_type(name: str, own: str) -> None:
    """Refuse a second scoring in a type that is not finer than the run's own."""
    wanted = compute_type(name)
    order = ("bfloat16", "float32", "float64")
    if wanted != "own" and order.index(wanted) <= order.index(own):
        raise ConfigError(
            f"context {name!r} asks for {wanted}, the run computes in {own} already",
            fix=f"choose {AGAIN}" if own == "float64" else f"choose {AGAIN} or {AGAIN}-float64",
        )


def collect_plan(
    name: str,
    plan: Plan,
    ready: Prepared,
    settings: CollectSettings,
    overwrite: bool,
    stop: Callable[[], bool],
    choice: EngineChoice = HERE,
) -> CollectReport:
    """Score one plan into `contexts/<name>/` at every unit of a prepared collection."""
    from critical_phase.cli.collect_engine import collect_by, source_of  # loads the engines

    folder = RunFolder(ready.run.path / FOLDER / name)
    _note_asked(ready, name)
    if overwrite:
        folder.plan.unlink(missing_ok=True)  # written again by the first thing collect does
    with bar(f"context {name}", len(choice.part_of(ready.units))) as update:
        return collect_by(
            choice,
            folder.path,
            ready.model,
            plan,
            ready.units,
            source=source_of(ready.record, settings),
            settings=context_settings(name, settings),
            provenance={
                "run_id": ready.record["name"],
                "context": name,
                "question_set_sha256": questions_sha256(ready.questions),
                "base_model": ready.record["model"],
                "seed": settings.seed,
            },
            overwrite=overwrite,
            progress=lambda done: update(done.finished),
            stop=stop,
        )


def _note_asked(ready: Prepared, name: str) -> None:
    """Say in run.json at which steps a context is wanted, so that status can name missing ones."""
    known: dict[str, dict[str, Any]] = read_record(ready.run).get(FOLDER, {})
    steps: dict[str, set[int]] = {
        head: set(found) for head, found in known.get(name, {}).get("steps", {}).items()
    }
    for unit in ready.units:
        steps.setdefault(unit.head, set()).add(unit.step)
    note = {**known.get(name, {}), "steps": {head: sorted(s) for head, s in steps.items()}}
    update_record(ready.run, "", **{FOLDER: {**known, name: note}})


def context_settings(name: str, settings: CollectSettings) -> ProbeSettings:
    """Say how the rows of a context go through the model: scores alone.

    A second scoring shares nothing with the first one: single rows in smaller batches.
    """
    if name == SECOND or context_kind(name) != AGAIN:
        return ProbeSettings(
            collectors=(),
            batch_tokens=settings.batch_tokens,
            adapter_scale=adapter_scale(name),
        )
    tokens = max(1, settings.batch_tokens // AGAIN_SHARE)
    return ProbeSettings(
        collectors=(), batch_tokens=tokens, layout="naive", compute_dtype=compute_type(name)
    )


def _note(
    run: RunFolder,
    name: str,
    plan: Plan,
    report: CollectReport,
    settings: CollectSettings,
    command: str,
) -> None:
    """Say in run.json how a context was made."""
    known: dict[str, dict[str, Any]] = read_record(run).get(FOLDER, {})
    note: dict[str, Any] = {
        **known.get(name, {}),
        "rows": plan.rows,
        "plan_sha256": plan.sha256,
        "seed": settings.seed,
        "tokens_before_answer": [
            int(plan.question_end.min()) + 1,
            int(plan.question_end.max()) + 1,
        ],
    }
    if context_kind(name) == "shots":
        shown = demonstrations(name, _train_questions(run))
        note["demonstrations"] = [question.id for question in shown]
    how = layout_note(run.path / FOLDER / name, report)
    note |= {key: how[key] for key in ("layout", "layout_reason") if key in how}
    update_record(run, command, **{FOLDER: {**known, name: note}})
